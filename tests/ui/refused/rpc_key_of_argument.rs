use rpc::service;

#[service]
trait Refused {
    #[rpc(default)]
    async fn method(&self);
}

fn main() {}
