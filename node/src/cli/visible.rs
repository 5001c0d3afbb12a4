//! Characters that a reader does not see, or that change what he sees, are printed as what they are.
//!
//! Names, owners and reasons are what clients made them. One with a right-to-left override reads as
//! another one; a zero-width space makes two locks look like one; a control character speaks to the
//! terminal.

use std::borrow::Cow;

/// Text for people in which nothing is hidden: `a\u{202e}b`. Line ends stay.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |it| it != '\n' && is_hidden(it), for_people)
}

/// The same for what is to be one word or one cell: line ends do not stay.
pub(super) fn cell(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden, for_people)
}

/// The same for a JSON document, which means the same as before: `"a\u202eb"`.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |it| it != '\n' && is_hidden(it),
        |it| {
            let mut units = [0; 2];
            it.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        },
    )
}

/// The same for a YAML document in which every string that hides something is in double quotes.
pub(super) fn yaml(text: &str) -> Cow<'_, str> {
    escaped(text, |it| it != '\n' && is_hidden(it), |it| format!("\\U{:08x}", u32::from(it)))
}

/// Whether a text hides something.
pub(super) fn hides(text: &str) -> bool {
    text.chars().any(is_hidden)
}

fn escaped(
    text: &str,
    hidden: impl Fn(char) -> bool,
    escape: impl Fn(char) -> String,
) -> Cow<'_, str> {
    if !text.chars().any(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        if hidden(it) { shown.push_str(&escape(it)) } else { shown.push(it) }
    }
    Cow::Owned(shown)
}

fn for_people(it: char) -> String {
    it.escape_unicode().collect()
}

/// Controls, what sets the direction of text, and what Unicode says may be left out when it is drawn
/// (`Bidi_Control` and `Default_Ignorable_Code_Point` of Unicode 16, line separators, annotations).
fn is_hidden(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_stays_and_what_is_not_is_named() {
        for plain in ["orders/42", "Köln", "東京", "🔒", "a b"] {
            assert_eq!(cell(plain), plain);
        }
        assert_eq!(cell("a\u{202e}b"), "a\\u{202e}b");
        for hidden in "\u{200b}\u{2066}\u{feff}\u{61c}\u{e0041}\u{ad}\u{1b}\u{9b}\n".chars() {
            assert_eq!(cell(&hidden.to_string()), format!("\\u{{{:x}}}", u32::from(hidden)));
        }
        assert_eq!(lines("a\n\u{7}b\n"), "a\n\\u{7}b\n");
    }

    #[test]
    fn documents_mean_the_same_as_before() {
        let name = "a\u{202e}\u{e0041}\u{7f}b";
        let text = serde_json::to_string(name).unwrap();
        assert_eq!(json(&text), r#""a\u202e\udb40\udc41\u007fb""#);
        assert_eq!(serde_json::from_str::<String>(&json(&text)).unwrap(), name);
    }
}
