//! Metadata: taken if it is what another reader takes it for, counted always and kept within the limit.

use rmpv::Value;

use super::Input;
use crate::Metadata;
use crate::message::{Message, RequestHead, decode, encode_request};

/// `[3, 7, "m", nil,`
const BEFORE: [u8; 6] = [0x96, 3, 7, 0xa1, b'm', 0xc0];

/// What an entry counts beside its texts.
const ENTRY_BYTES: usize = 32;

/// Reads the limit, and then the metadata of a call and what follows it.
pub fn metadata(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = usize::from(input.byte()) * 8;
    let bytes = input.rest();
    let frame = [&BEFORE, bytes].concat();
    let expected = expected(bytes);
    match (decode(&frame, limit, true), expected) {
        (Ok(Message::Request(head, _)), Some(entries)) => {
            let metadata = head.metadata.as_deref();
            assert_eq!(metadata.is_none(), entries.is_empty());
            if let Some(metadata) = metadata {
                check(metadata, &entries, limit);
            }
        }
        (Err(_), None) => {}
        (decoded, expected) => panic!("{decoded:?}, where another reader has {expected:?}"),
    }
}

/// The texts that another reader finds, if they are a map of texts with something behind it.
fn expected(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let Ok(Value::Map(entries)) = rmpv::decode::read_value(&mut bytes) else { return None };
    let text = |value: Value| value.as_str().map(str::to_owned);
    let entries: Option<_> =
        entries.into_iter().map(|(name, value)| Some((text(name)?, text(value)?))).collect();
    entries.filter(|_| !bytes.is_empty())
}

fn check(metadata: &Metadata, entries: &[(String, String)], limit: usize) {
    let counted = |entries: &[(String, String)]| -> usize {
        entries.iter().map(|(name, value)| name.len() + value.len() + ENTRY_BYTES).sum()
    };
    assert_eq!(metadata.bytes(), counted(entries));
    let within = (0..=entries.len()).rev().find(|kept| counted(&entries[..*kept]) <= limit);
    let kept = &entries[..within.unwrap_or_default()];
    assert!(metadata.iter().eq(kept.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    for (name, _) in kept {
        let first = kept.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        assert_eq!(metadata.get(name), first, "of a name that occurs twice the first is taken");
    }
    // As it would be sent from here: each name once, its last text at its first place.
    let sent: Metadata = kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let texts: Vec<_> = sent.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(sent.bytes(), counted(&texts));
    let mut frame = Vec::new();
    let head = RequestHead { id: Some(7), method: "m", timeout: None, metadata: Some(&sent), streams: None };
    encode_request(&mut frame, &head);
    frame.push(0x90);
    match decode(&frame, limit, true) {
        Ok(Message::Request(head, params)) => {
            assert_eq!(
                (head.metadata.as_deref(), params),
                (Some(&sent).filter(|sent| !sent.is_empty()), &[0x90][..])
            );
        }
        other => panic!("{other:?} of what was written"),
    }
}
