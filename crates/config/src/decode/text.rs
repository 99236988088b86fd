//! The name rules of Kubernetes, and the nearest of several words.

/// RFC 1123 label: lower case letters, digits and dashes, at most 63.
pub(crate) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 subdomain: labels and dots, at most 253.
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

/// A label or annotation key: a name of at most 63 characters behind an optional DNS prefix.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_qualified(name),
        None => is_qualified(text),
    }
}

/// A label value: empty, or at most 63 characters.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

/// The candidate that `text` is probably meant to be: equal but for case, a part of it, or a few edits away.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > 64 {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let limit = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            // A word that was shortened, as `Prefix` for `PathPrefix`, is near however much is missing.
            let part = text.len() >= 5 && (lower.starts_with(&text) || lower.ends_with(&text));
            (if part { 0 } else { distance(&text, &lower) }, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        row[0] = left;
        for (j, y) in b.iter().enumerate() {
            let here = (diagonal + usize::from(x != *y)).min(left + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = here;
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_within_a_third_of_its_length() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(nearest(text, ["backendRefs", "matches", "name"].into_iter()), expected);
        }
        check("backendRef", Some("backendRefs"));
        check("backendrefs", Some("backendRefs"));
        check("matchs", Some("matches"));
        check("Refs", None);
        check("ndRefs", Some("backendRefs"));
        check("nmae", None);
        check("nam", Some("name"));
        check("weight", None);
    }

    #[test]
    fn names_follow_kubernetes() {
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
