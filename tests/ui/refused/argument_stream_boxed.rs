use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Pin<Box<dyn Stream<Item = u8>>>);
}

fn main() {}
