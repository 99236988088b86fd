//! Values of flags that several commands have, with messages that say how to write them.

use std::net::SocketAddr;
use std::time::Duration;

/// The longest timeout, which manifests can still hold.
const LONGEST: Duration = Duration::from_hours(99_999);

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok()).unwrap_or("8080");
        format!(
            "write an IP address and a port, such as 127.0.0.1:{port}, or 0.0.0.0:{port} for all interfaces"
        )
    })
}

/// A duration above zero.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_millis(1)..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err("write a duration from 1ms to 99999h".to_owned())
    }
}

/// A number of bytes above zero, also as a quantity of Kubernetes such as `32Mi`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let quantity = pointsman_config::parse_quantity(text).filter(|bytes| *bytes > 0);
    quantity.ok_or_else(|| "write a number of bytes above 0, such as 33554432 or 32Mi".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_how_they_are_written() {
        assert_eq!(address("[::]:80"), Ok(SocketAddr::from(([0_u16; 8], 80))));
        for (text, port) in [("9000", 9000), ("localhost:8081", 8081), (":8082", 8082), ("a", 8080)] {
            let error = address(text).unwrap_err();
            assert!(error.contains(&format!("such as 127.0.0.1:{port},")), "{text}: {error}");
        }
    }

    #[test]
    fn timeouts_are_above_zero_and_fit_into_manifests() {
        assert_eq!(timeout("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(timeout("1ms"), Ok(Duration::from_millis(1)));
        for text in ["0s", "10us", "100000h", "10"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_may_be_quantities() {
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("32Mi"), Ok(32 << 20));
        for text in ["0", "10MB", "1.5Gi", ""] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
