use rpc::service;

#[service]
trait Refused {
    async fn method(&self, _: u8);
}

fn main() {}
