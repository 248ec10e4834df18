use rpc::service;

#[service]
trait Refused {
    async fn method(&self, rest: ...);
}

fn main() {}
