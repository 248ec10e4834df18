use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Streaming<Box<dyn Shape>>);
}

fn main() {}
