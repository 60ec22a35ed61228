//! What is no HTTP/2, no gRPC, or no message, or too much of it.

use harness::Dice;

use crate::frames::{self, frame, grpc};

/// What a server says on the router's session, frame by frame.
pub(super) fn raw_attacks() -> Vec<(&'static str, Vec<u8>)> {
    let headers = |flags: u8| frame(frames::HEADERS, frames::END_HEADERS | flags, 1, &frames::response());
    let open = headers(0);
    let data = |bytes: &[u8]| frame(frames::DATA, 0, 1, bytes);
    let after = |bytes: Vec<u8>| [open.clone(), bytes].concat();
    let flood = |one: Vec<u8>, count: usize| one.repeat(count);
    let large = frames::field("x-flood", &"x".repeat(8_000));
    let mut attacks = vec![
        ("trailers only", headers(frames::END_STREAM)),
        ("a refusal", {
            let refusal = [frames::response(), frames::field("grpc-status", "16")].concat();
            frame(frames::HEADERS, frames::END_HEADERS | frames::END_STREAM, 1, &refusal)
        }),
        ("a message of 4 GiB", after(data(&[0, 0xFF, 0xFF, 0xFF, 0xFF, 1]))),
        ("a message of 4 MiB and one byte", after(data(&[0, 0, 0x40, 0, 1, 1]))),
        ("a compressed message", after(data(&[1, 0, 0, 0, 1, 1]))),
        ("an empty message", after(data(&grpc(&[])))),
        ("a field without end", after(data(&grpc(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])))),
        ("groups in groups", after(data(&grpc(&[0x0B; 16_000])))),
        ("the end", after(frame(frames::DATA, frames::END_STREAM, 1, &[]))),
        ("a reset", after(frame(frames::RST_STREAM, 0, 1, &[0, 0, 0, 2]))),
        (
            "many resets of streams that are not",
            after(flood(frame(frames::RST_STREAM, 0, 3, &[0; 4]), 5_000)),
        ),
        ("go away", frame(frames::GOAWAY, 0, 0, &[0; 8])),
        ("a push", after(frame(frames::PUSH_PROMISE, frames::END_HEADERS, 1, &[0, 0, 0, 2, 0x82]))),
        ("pings", after(flood(frame(frames::PING, 0, 0, &[0; 8]), 100_000))),
        ("settings", after(flood(frame(frames::SETTINGS, 0, 0, &[]), 100_000))),
        ("no windows", after(flood(frame(frames::WINDOW_UPDATE, 0, 0, &[0; 4]), 10))),
        (
            "windows without end",
            after(flood(frame(frames::WINDOW_UPDATE, 0, 0, &[0x7F, 0xFF, 0xFF, 0xFF]), 3)),
        ),
        ("empty data", after(flood(data(&[]), 100_000))),
        ("a header list of 1 MiB", {
            let first = frame(frames::HEADERS, 0, 1, &large);
            [first, flood(frame(frames::CONTINUATION, 0, 1, &large), 130)].concat()
        }),
        ("a frame that is too large", after(frame(frames::DATA, 0, 1, &vec![0; 1 << 20]))),
        ("no HTTP/2", b"HTTP/1.1 200 OK\r\n\r\n".repeat(1_000)),
    ];
    let mut dice = Dice::new(20_261_125, 2);
    for _ in 0..15 {
        let bytes: Vec<u8> = (0..1 + dice.index(400)).map(|_| dice.next().to_ne_bytes()[0]).collect();
        attacks.push(("bytes by dice in a message", after(data(&grpc(&bytes)))));
        attacks.push(("frames by dice", after(bytes)));
    }
    attacks
}
