//! The serving side of a connection.

use super::{
    ADD, ADD_AFTER, ADD_UP, BOUNCE, COUNT, ECHO, END, ITEM, ITEMS_A_FRAME, REPEAT, SPIN, TOTAL, WATCH,
    handler,
    wire::{Outbox, next_frame, write_from},
};
use crate::workload::PATTERN;
use bytes::{Buf, Bytes, BytesMut};
use std::{collections::HashMap, io, sync::Arc};
use tokio::{net::TcpStream, task::JoinSet};

pub(super) async fn serve_connection<const YIELD: bool>(socket: TcpStream) -> io::Result<()> {
    let (mut reading, writing) = socket.into_split();
    let outbox = Arc::new(Outbox::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(write_from::<YIELD>(outbox.clone(), writing));
    let mut sums = HashMap::new();
    let mut input = BytesMut::new();
    while let Some(request) = next_frame(&mut reading, &mut input).await? {
        let (id, mut payload) = (request.id, request.payload);
        match request.operation {
            ADD => {
                let (a, b) = (payload.try_get_i64()?, payload.try_get_i64()?);
                outbox.push(id, ADD, &a.wrapping_add(b).to_be_bytes());
            }
            ADD_AFTER => {
                let (a, b, micros) = (payload.try_get_i64()?, payload.try_get_i64()?, payload.try_get_u64()?);
                if micros == 0 {
                    outbox.push(id, ADD_AFTER, &a.wrapping_add(b).to_be_bytes());
                } else {
                    tasks.spawn(add_after(outbox.clone(), id, a, b, micros));
                }
            }
            SPIN => outbox.push(id, SPIN, &handler::spin(payload.try_get_u64()?).to_be_bytes()),
            ECHO => outbox.push(id, ECHO, &payload),
            ADD_UP => {
                let sum: &mut u64 = sums.entry(id).or_default();
                while payload.has_remaining() {
                    *sum = sum.wrapping_add(payload.try_get_u64()?);
                }
            }
            TOTAL => outbox.push(id, TOTAL, &sums.remove(&id).unwrap_or_default().to_be_bytes()),
            BOUNCE => {
                let number = payload.try_get_u64()?;
                outbox.push(id, ITEM, &number.wrapping_add(1).to_be_bytes());
            }
            END => outbox.push(id, END, &[]),
            WATCH => outbox.push(id, ITEM, &0_u64.to_be_bytes()),
            COUNT => {
                let below = payload.try_get_u64()?;
                tasks.spawn(count(outbox.clone(), id, below, ITEMS_A_FRAME[usize::from(YIELD)]));
            }
            REPEAT => {
                let (count, length) = (payload.try_get_u64()?, payload.try_get_u64()?);
                tasks.spawn(repeat(outbox.clone(), id, count, PATTERN.slice(..length as usize)));
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        // What has ended need not be remembered until the connection ends.
        while tasks.try_join_next().is_some() {}
    }
    Ok(())
}

async fn add_after(outbox: Arc<Outbox>, id: u64, a: i64, b: i64, micros: u64) -> io::Result<()> {
    let sum = handler::add_after(a, b, micros).await;
    outbox.push(id, ADD_AFTER, &sum.to_be_bytes());
    Ok(())
}

async fn count(outbox: Arc<Outbox>, id: u64, below: u64, items_a_frame: usize) -> io::Result<()> {
    outbox.push_numbers(id, ITEM, below, items_a_frame).await;
    outbox.push(id, END, &[]);
    Ok(())
}

async fn repeat(outbox: Arc<Outbox>, id: u64, count: u64, item: Bytes) -> io::Result<()> {
    for _ in 0..count {
        outbox.push_in_turn(id, ITEM, &item).await;
    }
    outbox.push(id, END, &[]);
    Ok(())
}
