//! Parameters of a query: each known by its name, each at most once, no others.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use axum::extract::Query;
use http::Uri;

use super::envelope::is_well_escaped;
use super::fields::{DURATION_FORM, check_name, shown};
use super::problem::Fault;
use crate::config::duration_ms;

/// The parameters of one request.
#[derive(Debug)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads a query that may have the `known` parameters and no others.
    ///
    /// # Errors
    /// If it cannot be read, or has others, or one of them twice.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Self, Fault> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(pairs) = pairs.map_err(|error| Fault::field("query", error.body_text()))?;
        let raw = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut values = BTreeMap::new();
        for ((name, value), raw) in pairs.into_iter().zip(raw) {
            if !known.contains(&name.as_str()) {
                return Err(unknown(&shown(&name), known));
            }
            if !is_well_escaped(raw) {
                let detail = format!("{name} has a % without two hexadecimal digits");
                return Err(Fault::field(&name, detail));
            }
            // What a form of a lossy decoder leaves behind would match nothing, or the wrong thing.
            if value.contains('\u{fffd}') {
                return Err(Fault::field(&name, format!("{name} is not UTF-8")));
            }
            if values.insert(name.clone(), value).is_some() {
                return Err(Fault::field(&name, format!("{name} is given twice")));
            }
        }
        Ok(Self(values))
    }

    /// Refuses every query: what a changing request says stands in its body.
    ///
    /// # Errors
    /// If there is a parameter.
    pub fn refuse_all(uri: &Uri) -> Result<(), Fault> {
        match uri.query() {
            None => Ok(()),
            Some(_) => Self::read(uri, &[]).map(|_| ()),
        }
    }

    /// A text without control characters, at most `bytes_max` long; it may be empty.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn text(&self, name: &str, bytes_max: usize) -> Result<Option<&str>, Fault> {
        match self.0.get(name).map(String::as_str) {
            None => Ok(None),
            Some("") => Ok(Some("")),
            Some(text) => match check_name(text, bytes_max) {
                Ok(()) => Ok(Some(text)),
                Err(reason) => Err(Fault::field(name, format!("{name} {reason}"))),
            },
        }
    }

    /// As [`Params::text`], and not empty.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn name(&self, name: &str, bytes_max: usize) -> Result<Option<&str>, Fault> {
        match self.text(name, bytes_max)? {
            Some("") => Err(Fault::field(name, format!("{name} must not be empty"))),
            text => Ok(text),
        }
    }

    /// A decimal number.
    ///
    /// # Errors
    /// If it is anything else, or out of range.
    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Fault> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (start, end) = range.into_inner();
            Fault::field(name, format!("{name} must be a number from {start} to {end}"))
        })
    }

    /// How many; at most what a `usize` holds.
    ///
    /// # Errors
    /// If it is anything else, or out of range.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, Fault> {
        let limit = self.number("limit", 1..=max as u64)?;
        Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(default))
    }

    /// A length of time in milliseconds: `30s`, or an integer.
    ///
    /// # Errors
    /// If it is anything else, or longer than `max_ms`.
    pub fn duration_up_to(&self, name: &str, max_ms: u64) -> Result<Option<u64>, Fault> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let bare = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let ms = bare.or_else(|| duration_ms(text)).filter(|ms| *ms <= max_ms);
        ms.map(Some).ok_or_else(|| {
            Fault::field(name, format!("{name} must be {DURATION_FORM}, at most {max_ms} ms"))
        })
    }

    /// One of a few words.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Fault> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| word == text);
        found.map(|(_, value)| Some(*value)).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Fault::field(name, format!("{name} must be {}", words.join(" or ")))
        })
    }
}
fn unknown(name: &str, known: &[&str]) -> Fault {
    let there = match known {
        [] => "there are none: fields stand in the body".to_owned(),
        _ => format!("there are {}", known.join(", ")),
    };
    Fault::field(name, format!("{name} is no parameter of this route; {there}"))
}
