use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: &mut u8);
}

fn main() {}
