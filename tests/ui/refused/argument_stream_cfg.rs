use rpc::service;

#[service]
trait Refused {
    async fn method(&self, #[cfg(unix)] argument: Streaming<u8>);
}

fn main() {}
