use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: u8, argument: u8);
}

fn main() {}
