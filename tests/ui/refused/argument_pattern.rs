use rpc::service;

#[service]
trait Refused {
    async fn method(&self, (left, right): (u8, u8));
}

fn main() {}
