//! The cable cuts, mends, stalls, slows, closes by halves and counts.

use std::{net::SocketAddr, time::Duration};

use harness::{Cable, Direction};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

type Outcome = anyhow::Result<()>;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(10);

/// Answers every byte with the same byte.
async fn echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut input, mut output) = stream.split();
                let _ = tokio::io::copy(&mut input, &mut output).await;
            });
        }
    });
    Ok(address)
}

async fn say(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text).await?;
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await?;
    assert_eq!(heard, text);
    Ok(())
}

#[tokio::test]
async fn bytes_pass_and_are_counted_in_both_directions() -> Outcome {
    let cable = Cable::to(echo().await?).await?;
    let mut stream = TcpStream::connect(cable.address()).await?;
    say(&mut stream, &[7; 100_000]).await?;
    stream.shutdown().await?;
    assert_eq!(stream.read(&mut [0]).await?, 0);
    assert_eq!((cable.bytes_up(), cable.bytes_down(), cable.connections()), (100_000, 100_000, 1));
    Ok(())
}

#[tokio::test]
async fn a_cut_resets_connections_and_refuses_new_ones_until_mended() -> Outcome {
    let cable = Cable::to(echo().await?).await?;
    let mut stream = TcpStream::connect(cable.address()).await?;
    say(&mut stream, b"hello").await?;
    cable.cut()?;
    let error = stream.read(&mut [0]).await.expect_err("the connection was reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let error = TcpStream::connect(cable.address()).await.expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    cable.mend()?;
    say(&mut TcpStream::connect(cable.address()).await?, b"again").await?;
    Ok(())
}

#[tokio::test]
async fn a_stalled_cable_holds_bytes_and_delivers_them_later() -> Outcome {
    let cable = Cable::to(echo().await?).await?;
    let mut stream = TcpStream::connect(cable.address()).await?;
    say(&mut stream, b"before").await?;
    cable.stall();
    assert!(timeout(SHORT, say(&mut stream, b"during")).await.is_err());
    cable.resume();
    let mut late = [0; 6];
    timeout(LONG, stream.read_exact(&mut late)).await??;
    assert_eq!(&late, b"during");
    Ok(())
}

#[tokio::test]
async fn a_cut_after_some_bytes_lets_exactly_these_pass() -> Outcome {
    let cable = Cable::to(echo().await?).await?;
    let mut stream = TcpStream::connect(cable.address()).await?;
    say(&mut stream, b"12345").await?;
    cable.cut_after(Direction::Up, 3);
    assert!(timeout(LONG, say(&mut stream, b"67890")).await?.is_err());
    assert_eq!(cable.bytes_up(), 8);
    assert!(TcpStream::connect(cable.address()).await.is_err());
    cable.mend()?;
    say(&mut TcpStream::connect(cable.address()).await?, b"67890").await?;
    Ok(())
}

#[tokio::test]
async fn a_slow_cable_delivers_everything_at_its_pace() -> Outcome {
    let cable = Cable::to(echo().await?).await?;
    let mut stream = TcpStream::connect(cable.address()).await?;
    cable.slow(Some(20_000));
    assert!(timeout(SHORT, say(&mut stream, &[7; 100_000])).await.is_err(), "not in a fraction of its time");
    let passed = cable.bytes_down();
    assert!(passed < 100_000, "{passed} bytes passed at once");
    cable.slow(None);
    say(&mut TcpStream::connect(cable.address()).await?, b"quick").await?;
    Ok(())
}

#[tokio::test]
async fn a_half_closed_cable_ends_one_direction_and_leaves_the_other() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let cable = Cable::to(listener.local_addr()?).await?;
    let mut client = TcpStream::connect(cable.address()).await?;
    let (mut server, _) = listener.accept().await?;
    client.write_all(b"up").await?;
    server.read_exact(&mut [0; 2]).await?;
    cable.half_close(Direction::Down);
    assert_eq!(timeout(LONG, client.read(&mut [0])).await??, 0, "an orderly end");
    client.write_all(b"up").await?;
    timeout(LONG, server.read_exact(&mut [0; 2])).await??;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_looks_down_through_the_cable() -> Outcome {
    let nobody = SocketAddr::from(([127, 0, 0, 1], harness::ports::free_port()?));
    let cable = Cable::to(nobody).await?;
    // Depending on who is faster, connecting fails already, or the first read does.
    let first_byte = async { TcpStream::connect(cable.address()).await?.read(&mut [0]).await };
    assert!(timeout(LONG, first_byte).await?.is_err());
    Ok(())
}
