//! Validity of Kubernetes names and labels.

/// Whether `text` is an RFC 1123 label: 1 to 63 lower case letters, digits and inner dashes.
pub(crate) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` is an RFC 1123 subdomain: labels joined by dots, up to 253 characters.
pub(crate) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

fn is_qualified(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| alphanumeric(b) || matches!(b, b'-' | b'_' | b'.'))
        && text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric)
}

/// Whether `text` is a label or annotation key: up to 63 characters after an optional DNS prefix and slash.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_qualified(name),
        None => is_qualified(text),
    }
}

/// Whether `text` is a label value: empty or up to 63 characters.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_follow_kubernetes_rules() {
        for good in ["a", "a-b", "a.b", "0"] {
            assert!(is_dns_name(good), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "a_b", &"a".repeat(64)] {
            assert!(!is_dns_name(bad), "{bad}");
        }
        assert!(is_label_key("app.kubernetes.io/name") && is_label_key("app") && is_label_key("A_b.c"));
        assert!(!is_label_key("/a") && !is_label_key("a/b/c") && !is_label_key("a/"));
        assert!(
            is_label_value("") && is_label_value("v1.2_X") && !is_label_value("-x") && !is_label_value("a b")
        );
    }
}
