//! Process metrics under the names of Prometheus' client libraries, read from `/proc` at each scrape and absent
//! without it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// `USER_HZ`, the unit of CPU times in `/proc`, which is 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessCollector {
    started: SystemTime,
}

impl ProcessCollector {
    pub(super) fn start() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = read("stat").as_deref().and_then(cpu_seconds) {
            let help = "CPU time in seconds.";
            let family = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(family)?;
        }
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)
        };
        let resident = read("status").as_deref().and_then(resident_bytes);
        gauge("process_resident_memory_bytes", "Resident memory in bytes.", resident)?;
        let open =
            std::fs::read_dir("/proc/self/fd").ok().map(|found| found.fold(0.0, |count, _| count + 1.0));
        gauge("process_open_fds", "Open file descriptors.", open)?;
        let started = self.started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
        gauge("process_start_time_seconds", "Start time in seconds since 1970.", started)
    }
}

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{file}")).ok()
}

/// User and system time of `/proc/self/stat`: fields 14 and 15, counted after the name, which may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map_while(|ticks| ticks.parse::<f64>().ok());
    Some((times.next()? + times.next()?) / TICKS_PER_SECOND)
}

/// `VmRSS` of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_parsed() {
        let stat = "42 (a name) with) ) S 1 42 42 0 -1 4194560 9000 0 12 0 250 75 0 0 20 0 5 0 100 1000 200";
        assert_eq!(cpu_seconds(stat), Some(3.25));
        assert_eq!(cpu_seconds("42 (cut) S 1 2"), None);
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\nThreads: 1\n"), Some(2_097_152.0));
        assert_eq!(resident_bytes("VmRSS:\t many kB\n"), None);
        assert_eq!(resident_bytes(""), None);
    }
}
