//! Frames, and the task that writes them.

use super::LARGEST_MESSAGE;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::Notify,
    task::yield_now,
};

/// Bytes on their way to the writer task.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Vec<u8>>,
    filled: Notify,
    emptied: Notify,
}

impl Outbox {
    /// Appends a frame, however many are waiting.
    pub(super) fn push(&self, id: u64, operation: u8, payload: &[u8]) {
        append(&mut lock(&self.waiting), id, operation, payload);
        self.filled.notify_one();
    }

    /// Appends a frame of a stream once there is room: the only bound on how far a stream runs ahead.
    pub(super) async fn push_in_turn(&self, id: u64, operation: u8, payload: &[u8]) {
        loop {
            let emptied = self.emptied.notified();
            {
                let mut waiting = lock(&self.waiting);
                if waiting.len() < FULL {
                    append(&mut waiting, id, operation, payload);
                    break;
                }
            }
            emptied.await;
        }
        self.filled.notify_one();
    }

    /// Appends the numbers below `below`, so many in a frame, as there is room.
    pub(super) async fn push_numbers(&self, id: u64, operation: u8, below: u64, items_a_frame: usize) {
        let mut payload = Vec::new();
        for number in 0..below {
            payload.put_u64(number);
            if payload.len() == 8 * items_a_frame || number + 1 == below {
                self.push_in_turn(id, operation, &payload).await;
                payload.clear();
            }
        }
    }
}

fn append(waiting: &mut Vec<u8>, id: u64, operation: u8, payload: &[u8]) {
    waiting.put_u32((HEAD - 4 + payload.len()) as u32);
    waiting.put_u64(id);
    waiting.put_u8(operation);
    waiting.put_slice(payload);
}

pub(super) async fn write_from<const YIELD: bool>(
    outbox: Arc<Outbox>,
    mut socket: OwnedWriteHalf,
) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        outbox.filled.notified().await;
        if YIELD {
            yield_now().await;
        }
        mem::swap(&mut batch, &mut *lock(&outbox.waiting));
        outbox.emptied.notify_waiters();
        socket.write_all(&batch).await?;
        batch.clear();
    }
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: u64,
    pub(super) operation: u8,
    pub(super) payload: Bytes,
}

/// The next frame, read into `input` as far as it is not there yet; `None` when the peer has closed.
pub(super) async fn next_frame(
    socket: &mut OwnedReadHalf,
    input: &mut BytesMut,
) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = take_frame(input)? {
            return Ok(Some(frame));
        }
        if input.capacity() - input.len() < LITTLE_ROOM {
            input.reserve(READ_AT_ONCE);
        }
        if socket.read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
}

fn take_frame(input: &mut BytesMut) -> io::Result<Option<Frame>> {
    let Some(length) = input.first_chunk() else { return Ok(None) };
    let total = 4 + u32::from_be_bytes(*length) as usize;
    if !(HEAD..=LARGEST_MESSAGE).contains(&total) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if input.len() < total {
        input.reserve(total - input.len());
        return Ok(None);
    }
    let mut frame = input.split_to(total);
    frame.advance(4);
    let (id, operation) = (frame.get_u64(), frame.get_u8());
    Ok(Some(Frame { id, operation, payload: frame.freeze() }))
}

/// A panic of another holder leaves nothing half done under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes before the payload: length, id and operation.
const HEAD: usize = 4 + 8 + 1;

/// The bytes waiting at which streams stop adding to them.
const FULL: usize = 256 << 10;

/// The room for a read below which there has to be more, in bytes.
const LITTLE_ROOM: usize = 4 << 10;

/// The room that is then made, in bytes.
const READ_AT_ONCE: usize = 64 << 10;
