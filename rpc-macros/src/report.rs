//! The mistakes found in a service, gathered so that all of them are told at once.

use quote::ToTokens;
use syn::{Error, Result};

/// Gathers errors until [`Report::finish`]; in tests, one that is dropped unread panics.
#[derive(Default)]
pub(crate) struct Report {
    errors: Vec<Error>,
    #[cfg(test)]
    read: bool,
}

impl Report {
    /// Reports a mistake at `place`, in words that say what to write instead.
    pub(crate) fn mistake(&mut self, place: impl ToTokens, message: impl std::fmt::Display) {
        self.errors.push(Error::new_spanned(place, message));
    }

    /// Takes in an error of the parser, and gives back what was parsed.
    pub(crate) fn parsed<T>(&mut self, parsed: Result<T>) -> Option<T> {
        parsed.map_err(|error| self.errors.push(error)).ok()
    }

    /// All errors in one, in the order in which they were found.
    pub(crate) fn finish(mut self) -> Result<()> {
        #[cfg(test)]
        {
            self.read = true;
        }
        let all = std::mem::take(&mut self.errors).into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        all.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
impl Drop for Report {
    fn drop(&mut self) {
        assert!(self.read || std::thread::panicking(), "a report was dropped unread");
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use quote::quote;

    #[test]
    fn all_errors_come_out_in_order() {
        let mut report = Report::default();
        report.mistake(quote!(a), "first");
        let parsed: Option<syn::Type> = report.parsed(syn::parse_str("5"));
        report.mistake(quote!(b), "last");
        assert!(parsed.is_none());
        let messages: Vec<String> = report
            .finish()
            .expect_err("mistakes were reported")
            .into_iter()
            .map(|error| error.to_string())
            .collect();
        assert_eq!(messages.len(), 3);
        assert_eq!((messages[0].as_str(), messages[2].as_str()), ("first", "last"));
    }

    #[test]
    #[should_panic(expected = "dropped unread")]
    fn a_report_must_be_read() {
        drop(Report::default());
    }
}
