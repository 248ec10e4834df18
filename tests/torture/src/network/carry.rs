//! One way of a connection: carries what comes, and does to it what the weather says.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::link::Shared;
use super::weather::Fault;
use crate::random::Random;

/// How much is read at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// How a connection ends before its sides have closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is closed, as by an orderly end of the other side.
    Closed,
    /// It is reset.
    Reset,
}

impl From<io::Error> for Broken {
    /// Whatever one side did, the other sees a reset.
    fn from(_: io::Error) -> Self {
        Broken::Reset
    }
}

/// Carries what comes from one side to the other, until it ends.
///
/// # Errors
/// The whole connection is to end.
pub(super) async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    to_client: bool,
    shared: &Shared,
    mut random: Random,
) -> Result<(), Broken> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        shared.passable().await;
        if read == 0 {
            to.shutdown().await?;
            return Ok(());
        }
        let piece = &mut buffer[..read];
        let mut fault = shared.weather().draw(&mut random);
        // Only what is large surely has data in its middle, and only replies have hashes at their ends.
        if fault == Some(Fault::Alter) && (!to_client || read < PIECE_BYTES) {
            fault = None;
        }
        shared.counts.piece(fault);
        let part = random.index(read + 1);
        match fault {
            None => to.write_all(piece).await?,
            Some(Fault::Delay) => {
                tokio::time::sleep(random.millis(0..20)).await;
                to.write_all(piece).await?;
            }
            Some(Fault::Stall) => {
                tokio::time::sleep(random.millis(100..1_500)).await;
                to.write_all(piece).await?;
            }
            Some(Fault::Slice) => slice(piece, &mut to, &mut random).await?,
            Some(Fault::Cut) => {
                to.write_all(&piece[..part]).await?;
                return Err(Broken::Closed);
            }
            Some(Fault::HalfCut) => {
                to.write_all(&piece[..part]).await?;
                to.shutdown().await?;
                return Ok(());
            }
            Some(Fault::Reset) => {
                to.write_all(&piece[..part]).await?;
                return Err(Broken::Reset);
            }
            Some(Fault::Alter) => {
                piece[PIECE_BYTES / 2] ^= 0x10;
                to.write_all(piece).await?;
            }
        }
    }
}

async fn slice(mut piece: &[u8], to: &mut (impl AsyncWrite + Unpin), random: &mut Random) -> io::Result<()> {
    // The first bytes one by one, through a head and into what follows; then longer ones, or it would take for ever.
    let mut longest = 2;
    while !piece.is_empty() {
        let (slice, rest) = piece.split_at(piece.len().min(random.between(1..longest) as usize));
        to.write_all(slice).await?;
        piece = rest;
        if random.one_in(4) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
        if random.one_in(8) {
            longest *= 2;
        }
    }
    Ok(())
}
