use rpc::service;

#[service]
trait Refused {
    #[rpc(oneway)]
    async fn method(&self) -> u8;
}

fn main() {}
