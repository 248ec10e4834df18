//! The committed figures, and how far others may be from them.

use std::{
    fmt::{self, Display},
    fs, io,
    path::PathBuf,
};

/// The compiler that this program, and with it the framework, was built with.
pub const COMPILER: &str = env!("COMPILER");

/// By so many percent a figure may differ, either way.
const TOLERANCE: f64 = 3.0;

/// Instructions a call, by mode, and the compiler they belong to.
#[derive(Debug, Default, PartialEq)]
pub struct Figures {
    /// As `rustc --version` says it, and the target.
    pub compiler: String,
    figures: Vec<(String, f64)>,
}

/// What a figure is beside the committed one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// By so many percent, which is allowed.
    Near(f64),
    /// By so many percent, which is too many.
    Far(f64),
    /// There is none.
    New,
}

impl Figures {
    /// None yet.
    pub fn of_this_compiler() -> Self {
        Figures { compiler: COMPILER.to_owned(), figures: Vec::new() }
    }

    /// The committed ones; none if there is no file yet.
    pub fn committed() -> io::Result<Self> {
        match fs::read_to_string(path()) {
            Ok(text) => Figures::parse(&text).ok_or_else(|| io::Error::other("figures.txt is malformed")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Figures::default()),
            Err(error) => Err(error),
        }
    }

    /// Makes these the ones to be committed.
    pub fn write(&self) -> io::Result<()> {
        fs::write(path(), self.to_string())
    }

    /// Puts a figure in, in place of the one that was there.
    pub fn set(&mut self, name: &str, figure: f64) {
        match self.figures.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = figure,
            None => self.figures.push((name.to_owned(), figure)),
        }
    }

    /// A mode's figure.
    pub fn of(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(known, _)| known == name).map(|(_, figure)| *figure)
    }

    /// What to say of a mode's figure now.
    pub fn compare(&self, name: &str, now: f64) -> Verdict {
        match self.of(name).map(|committed| (now / committed - 1.0) * 100.0) {
            None => Verdict::New,
            Some(percent) if percent.abs() <= TOLERANCE => Verdict::Near(percent),
            Some(percent) => Verdict::Far(percent),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let compiler = lines.next()?.to_owned();
        let figure = |line: &str| {
            let (name, figure) = line.split_once(' ')?;
            Some((name.to_owned(), figure.trim().parse().ok()?))
        };
        Some(Figures { compiler, figures: lines.map(figure).collect::<Option<_>>()? })
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "# Instructions a small call costs, and the compiler that this belongs to; written by\n",
        )?;
        f.write_str("# cargo run --release --manifest-path benches/counts/Cargo.toml -- update\n")?;
        writeln!(f, "{}", self.compiler)?;
        self.figures.iter().try_for_each(|(name, figure)| writeln!(f, "{name:<16} {figure:>8.1}"))
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Near(percent) => write!(f, "{percent:+.2} %"),
            Verdict::Far(percent) => write!(f, "{percent:+.2} %, more than {TOLERANCE} %"),
            Verdict::New => f.write_str("no figure to compare with"),
        }
    }
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "figures.txt"].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures { compiler: "rustc 1.2.3, here".to_owned(), ..Figures::default() };
        figures.set("one", 1_000.0);
        figures.set("many", 500.5);
        figures
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Figures::parse(&figures().to_string()), Some(figures()));
        assert_eq!(Figures::parse("rustc 1.2.3, here\none a thousand\n"), None);
    }

    #[test]
    fn a_figure_may_differ_by_three_percent_either_way() {
        let figures = figures();
        assert!(matches!(figures.compare("one", 1_029.9), Verdict::Near(_)));
        assert!(matches!(figures.compare("one", 970.1), Verdict::Near(_)));
        assert!(matches!(figures.compare("one", 1_030.1), Verdict::Far(_)));
        assert!(matches!(figures.compare("one", 969.9), Verdict::Far(_)));
        assert_eq!(figures.compare("none", 1.0), Verdict::New);
    }
}
