//! Marshalling alone: this framework's beside rmp-serde, bincode and prost.
//!
//! A process of its own measures everyone in turn; there is a new one in each round. What is measured is one thread's
//! CPU time, which is right on a busy machine too.

mod codecs;
mod values;

use crate::{
    contender::{Error, Result},
    measure::process_cpu,
    options::{Flavour, Options},
    peer::Peer,
};
use std::{
    fmt,
    hint::black_box,
    str::FromStr,
    time::{Duration, Instant},
};

/// What one codec makes of one value, in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The value.
    pub value: String,
    /// The codec.
    pub codec: String,
    /// The length of the value when it is marshalled.
    pub bytes: usize,
    /// To marshal it once, in nanoseconds.
    pub marshal: f64,
    /// To unmarshal it once, in nanoseconds.
    pub unmarshal: f64,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, codec, bytes, marshal, unmarshal } = self;
        write!(formatter, "{value};{codec};{bytes};{marshal};{unmarshal}")
    }
}

impl FromStr for Finding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let [value, codec, bytes, marshal, unmarshal] = text.split(';').collect::<Vec<_>>()[..] else {
            return Err(format!("{text:?} is no finding").into());
        };
        Ok(Self {
            value: value.to_owned(),
            codec: codec.to_owned(),
            bytes: bytes.parse()?,
            marshal: marshal.parse()?,
            unmarshal: unmarshal.parse()?,
        })
    }
}

/// Measures in so many rounds; each gives its findings in the same order.
pub fn compare(options: &Options) -> Result<Vec<Vec<Finding>>> {
    (0..options.rounds)
        .map(|round| {
            eprintln!("marshalling, round {} of {}", round + 1, options.rounds);
            let milliseconds = options.measured.as_millis().to_string();
            let mut process = Peer::start(&["marshal", "--millis", &milliseconds], Flavour::CurrentThread)?;
            let mut findings = Vec::new();
            loop {
                match process.listen()?.as_str() {
                    END => return Ok(findings),
                    finding => findings.push(finding.parse()?),
                }
            }
        })
        .collect()
}

/// Measures everything once, each codec at each value for about half of so long, and says what it found.
pub fn measure(duration: Duration) -> Result<()> {
    let runtime = Flavour::CurrentThread.runtime()?;
    for finding in runtime.block_on(codecs::measure(duration / 4))? {
        println!("{finding}");
    }
    println!("{END}");
    Ok(())
}

/// What a process says after its findings.
const END: &str = "end";

/// What one codec makes of one value: how long it is, and nanoseconds to marshal and to unmarshal it.
type Figures = (usize, f64, f64);

/// Measures one codec at one value, each way for so long. What was marshalled must come back as it was.
fn figures<T: PartialEq>(
    value: &T,
    mut marshal: impl FnMut() -> Result<usize>,
    mut unmarshal: impl FnMut() -> Result<T>,
    duration: Duration,
) -> Result<Figures> {
    if unmarshal()? != *value {
        return Err("wrong result: a value was not what had been marshalled".into());
    }
    let bytes = marshal()?;
    Ok((bytes, nanoseconds(&mut marshal, duration)?, nanoseconds(&mut unmarshal, duration)?))
}

/// The CPU time of one `work`, after a fifth of the time to warm up.
fn nanoseconds<T>(mut work: impl FnMut() -> Result<T>, duration: Duration) -> Result<f64> {
    let mut work_for = |duration| {
        let (mut times, started, cpu) = (0_u32, Instant::now(), process_cpu());
        while started.elapsed() < duration {
            // A look at the clock takes a tenth of the time that a record does.
            for _ in 0..20 {
                black_box(work()?);
            }
            times += 20;
        }
        Ok((process_cpu() - cpu).as_nanos() as f64 / f64::from(times))
    };
    work_for(duration / 5)?;
    work_for(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_survives_the_pipe() {
        let finding = Finding {
            value: "a record".to_owned(),
            codec: "rpc".to_owned(),
            bytes: 3,
            marshal: 1.5,
            unmarshal: 2.25,
        };
        assert_eq!(finding.to_string().parse::<Finding>().expect("what was written can be read"), finding);
    }

    #[test]
    fn a_codec_that_changes_the_value_fails() {
        let measure = |back: u8| figures(&7, || Ok(1), || Ok(back), Duration::from_micros(1));
        assert!(measure(7).is_ok());
        assert!(measure(8).is_err());
    }

    #[test]
    fn every_codec_gives_every_value_back() {
        let runtime = Flavour::CurrentThread.runtime().expect("a runtime");
        let findings =
            runtime.block_on(codecs::measure(Duration::from_micros(1))).expect("all values come back");
        let of = |codec: &str| findings.iter().filter(|finding| finding.codec == codec).count();
        let codecs = ["rpc", "rmp-serde", "bincode", "prost"];
        assert_eq!((codecs.map(of), findings.len()), ([3; 4], 3 * 4 + 1));
    }
}
