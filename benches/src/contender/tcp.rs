//! Bytes over TCP without any frames: how fast the kernel carries them when nothing is done to them.

use super::{Contender, Downloads, Result};
use crate::workload::PATTERN;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

/// Bytes without frames.
#[derive(Debug)]
pub struct Tcp;

impl Contender for Tcp {
    type Client = TcpClient;

    async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        announce(listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::spawn(send_what_is_wanted(socket));
        }
    }

    async fn connect(to: SocketAddr) -> Result<TcpClient> {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        Ok(TcpClient(Arc::new(Mutex::new(socket))))
    }
}

/// The receiving side of one connection.
#[derive(Clone, Debug)]
pub struct TcpClient(Arc<Mutex<TcpStream>>);

impl Downloads for TcpClient {
    async fn download(
        &mut self,
        count: u64,
        length: usize,
        mut look: impl FnMut(&[u8]) + Send,
    ) -> Result<()> {
        let mut socket = self.0.lock().await;
        socket.write_u64(count).await?;
        socket.write_u64(length as u64).await?;
        let mut missing = count * length as u64;
        let mut piece = vec![0; PIECE];
        while missing > 0 {
            let wanted = usize::try_from(missing).map_or(PIECE, |missing| missing.min(PIECE));
            match socket.read(&mut piece[..wanted]).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                read => {
                    look(&piece[..read]);
                    missing -= read as u64;
                }
            }
        }
        Ok(())
    }
}

async fn send_what_is_wanted(mut socket: TcpStream) -> io::Result<()> {
    loop {
        let count = socket.read_u64().await?;
        let length = socket.read_u64().await?;
        let item = usize::try_from(length).ok().and_then(|length| PATTERN.get(..length));
        let item = item.ok_or(io::ErrorKind::InvalidData)?;
        for _ in 0..count {
            socket.write_all(item).await?;
        }
    }
}

/// Room for a read, in bytes.
const PIECE: usize = 256 << 10;
