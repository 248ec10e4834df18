use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Box<dyn std::error::Error>);
}

fn main() {}
