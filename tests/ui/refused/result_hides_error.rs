use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> std::io::Result<u8>;
}

fn main() {}
