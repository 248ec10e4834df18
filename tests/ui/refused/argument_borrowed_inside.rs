use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Option<&u64>);
}

fn main() {}
