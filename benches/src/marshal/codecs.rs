//! The codecs, each as those use it who have it from its documentation.
//!
//! This framework's marshalling is nothing that its users call. What they can do is write a dispatcher by hand, and
//! that is how it is measured: a dispatcher that unmarshals the argument it was called with again and again, and
//! marshals it as its reply again and again, by the functions that generated dispatchers use. It is called once for
//! each value, and what it found is its reply.

use super::{Figures, Finding, figures, values};
use crate::contender::Result;
use bincode::Options as _;
use bytes::Bytes;
use prost::Message;
use rpc::{Channel, Code, Error, Method, Reply, Request, Service};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use values::{Blob, Floats, Record};

/// Every codec at every value, each way for so long.
pub(super) async fn measure(duration: Duration) -> Result<Vec<Finding>> {
    let framework = Channel::in_process(Measured(duration));
    let mut findings = Vec::new();

    let record = values::record();
    let mut all = vec![
        ("rpc", framework.call::<Figures, Error>("Measured.record", (&record,)).await?),
        ("rpc, compact", framework.call_compact::<Figures, Error>("Measured.compact", (&record,)).await?),
    ];
    all.extend(with_serde(&record, duration)?);
    all.push(("prost", with_prost(&record, duration)?));
    findings.extend(all.into_iter().map(of("a record of ten fields")));

    let floats = values::floats();
    let mut all = vec![("rpc", framework.call::<Figures, Error>("Measured.floats", (&floats,)).await?)];
    all.extend(with_serde(&floats, duration)?);
    all.push(("prost", with_prost(&Floats { values: floats }, duration)?));
    findings.extend(all.into_iter().map(of("1,000 floats")));

    let bytes = values::bytes();
    let mut all = vec![("rpc", framework.call::<Figures, Error>("Measured.bytes", (&bytes,)).await?)];
    all.extend(with_serde(&bytes, duration)?);
    all.push(("prost", with_prost(&Blob { bytes }, duration)?));
    findings.extend(all.into_iter().map(of("1 MiB of bytes")));
    Ok(findings)
}

fn of(value: &str) -> impl Fn((&str, Figures)) -> Finding {
    move |(codec, (bytes, marshal, unmarshal))| Finding {
        value: value.to_owned(),
        codec: codec.to_owned(),
        bytes,
        marshal,
        unmarshal,
    }
}

/// The codecs that need nothing but serde. bincode is set as tarpc sets it.
fn with_serde<T: Serialize + DeserializeOwned + PartialEq>(
    value: &T,
    duration: Duration,
) -> Result<[(&'static str, Figures); 2]> {
    let written = rmp_serde::to_vec_named(value)?;
    let rmp_serde = figures(
        value,
        || Ok(rmp_serde::to_vec_named(value)?.len()),
        || Ok(rmp_serde::from_slice(&written)?),
        duration,
    )?;
    let written = bincode::DefaultOptions::new().serialize(value)?;
    let bincode = figures(
        value,
        || Ok(bincode::DefaultOptions::new().serialize(value)?.len()),
        || Ok(bincode::DefaultOptions::new().deserialize(&written)?),
        duration,
    )?;
    Ok([("rmp-serde", rmp_serde), ("bincode", bincode)])
}

/// Out of `Bytes`, since tonic, too, lets prost share what it received.
fn with_prost<T: Message + Default + PartialEq>(value: &T, duration: Duration) -> Result<Figures> {
    let written = Bytes::from(value.encode_to_vec());
    figures(value, || Ok(value.encode_to_vec().len()), || Ok(T::decode(written.clone())?), duration)
}

/// A dispatcher that measures marshalling where generated ones do it.
#[derive(Clone)]
struct Measured(Duration);

impl Service for Measured {
    const NAME: &'static str = "Measured";

    const METHODS: &'static [Method] = &[
        Method::new("record", &["value"]),
        Method::new("compact", &["value"]).compact(),
        Method::new("floats", &["value"]),
        Method::new("bytes", &["value"]),
    ];

    async fn dispatch(&self, request: &Request) -> Reply {
        let figures = match request.method() {
            "record" | "compact" => within::<Record>(request, self.0),
            "floats" => within::<Vec<f64>>(request, self.0),
            "bytes" => within::<Bytes>(request, self.0),
            _ => return request.unimplemented(),
        };
        request.result(figures.map_err(|error| Error::new(Code::Internal, error.to_string())))
    }
}

/// Within a call: its argument out of the request, and into a reply.
fn within<T: Serialize + DeserializeOwned + PartialEq>(
    request: &Request,
    duration: Duration,
) -> Result<Figures> {
    let failed = |failure| format!("{failure:?}");
    let unmarshal = || Ok(request.arguments().map_err(failed)?.next::<T>()?);
    let value = unmarshal()?;
    figures(&value, || Ok(request.reply(&value).map_err(failed)?.len()), unmarshal, duration)
}
