//! Suggestions for misspelt words.

/// The candidate that `text` probably means: one that differs in case only, starts or ends with `text`, or is up to
/// three edits away; else the one that has all words of `text`, or of whose words none is missing in `text`.
pub fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > 64 {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let candidates: Vec<&str> = candidates.collect();
    by_edits(&text, &candidates).or_else(|| by_words(&text, &candidates))
}

fn by_edits<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let max_distance = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            // An abbreviation such as `Prefix` for `PathPrefix` matches however many letters are missing.
            let is_part = text.len() >= 5 && (lower.starts_with(text) || lower.ends_with(text));
            (if is_part { 0 } else { levenshtein(text, &lower) }, candidate)
        })
        .filter(|(distance, _)| *distance <= max_distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| *candidate)
}

/// The candidate whose words between dashes contain those of `text`, or the other way round, with at least two words in
/// common: `queue-scorer` for `queue-depth-scorer`.
fn by_words<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let words: Vec<&str> = text.split('-').collect();
    let common = |candidate: &str| {
        let theirs: Vec<&str> = candidate.split('-').collect();
        let common = words.iter().filter(|word| theirs.contains(word)).count();
        (common >= 2 && (common == words.len() || common == theirs.len())).then_some(common)
    };
    candidates
        .iter()
        .filter_map(|candidate| Some((common(candidate)?, *candidate)))
        // The first of equals.
        .fold(None, |best, (common, candidate)| match best {
            Some((most, _)) if most >= common => best,
            _ => Some((common, candidate)),
        })
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn levenshtein(a: &str, b: &str) -> usize {
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
    fn suggests_words_within_a_third_of_their_length() {
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
    fn suggests_names_with_the_same_words() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let names =
                ["queue-scorer", "kv-cache-utilization-scorer", "kv-cache-scorer", "max-score-picker"];
            assert_eq!(nearest(text, names.into_iter()), expected, "{text}");
        }
        check("queue-depth-scorer", Some("queue-scorer"));
        check("kv-scorer", Some("kv-cache-utilization-scorer"));
        check("kv-cache-use-scorer", Some("kv-cache-scorer"));
        check("custom-scorer", None);
        check("picker-of-mine", None);
    }
}
