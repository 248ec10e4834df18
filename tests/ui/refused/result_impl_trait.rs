use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> impl Iterator<Item = u8>;
}

fn main() {}
