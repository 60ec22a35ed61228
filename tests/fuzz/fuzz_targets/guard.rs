//! The guard between the network and the LDAP library: no bytes make it panic, and how the network
//! cuts them changes nothing.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use router_agent::fuzzing;

/// What a directory sends: messages of the right form and others, some bytes of them changed, in
/// pieces.
#[derive(Arbitrary, Debug)]
struct Stream<'a> {
    messages: Vec<Message<'a>>,
    changed: Vec<(u16, u8)>,
    cuts: Vec<u16>,
    largest: u16,
}

#[derive(Arbitrary, Debug)]
enum Message<'a> {
    Entry { id: u8, dn: &'a [u8], attributes: Vec<(&'a [u8], Vec<&'a [u8]>)> },
    Reference { id: u8, urls: Vec<&'a [u8]> },
    Result { id: u8, tag: u8, code: u8, text: &'a [u8], controls: Vec<(&'a [u8], &'a [u8])> },
    Bytes(&'a [u8]),
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    match u8::try_from(length) {
        Ok(short @ ..0x80) => [&[tag, short], content].concat(),
        _ => [&[tag, 0x84][..], &u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes(), content].concat(),
    }
}

fn elements(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    contents.iter().flat_map(|content| element(tag, content)).collect()
}

fn encode(message: &Message) -> Vec<u8> {
    let whole = |id: u8, rest: &[u8]| element(0x30, &[&[2, 1, id], rest].concat());
    match message {
        Message::Entry { id, dn, attributes } => {
            let attribute = |(name, values): &(&[u8], Vec<&[u8]>)| {
                element(0x30, &[element(4, name), element(0x31, &elements(4, values))].concat())
            };
            let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
            whole(*id, &element(0x64, &[element(4, dn), element(0x30, &attributes)].concat()))
        }
        Message::Reference { id, urls } => whole(*id, &element(0x73, &elements(4, urls))),
        Message::Result { id, tag, code, text, controls } => {
            let operation = [&[10, 1, *code, 4, 0][..], &element(4, text)].concat();
            let control = |(name, value): &(&[u8], &[u8])| {
                element(0x30, &[element(4, name), element(4, value)].concat())
            };
            let controls: Vec<u8> = controls.iter().flat_map(control).collect();
            let controls = if controls.is_empty() { controls } else { element(0xA0, &controls) };
            whole(*id, &[element(*tag, &operation), controls].concat())
        }
        Message::Bytes(bytes) => bytes.to_vec(),
    }
}

fuzz_target!(|stream: Stream| {
    let mut bytes: Vec<u8> = stream.messages.iter().flat_map(encode).collect();
    for (at, byte) in &stream.changed {
        if let Some(changed) = bytes.get_mut(usize::from(*at)) {
            *changed = *byte;
        }
    }
    let (mut rest, mut pieces) = (&bytes[..], Vec::new());
    for cut in &stream.cuts {
        let (piece, behind) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    let guard = |pieces: &[&[u8]]| fuzzing::guard(pieces, 3, usize::from(stream.largest));
    assert_eq!(guard(&[&bytes]), guard(&pieces), "{bytes:x?}");
});
