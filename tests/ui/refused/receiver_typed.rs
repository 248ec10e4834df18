use rpc::service;

#[service]
trait Refused {
    async fn method(self: std::sync::Arc<Self>);
}

fn main() {}
