use rpc::service;

#[service]
trait Refused {
    async fn method(&self, #[rpc(default)] argument: &str);
}

fn main() {}
