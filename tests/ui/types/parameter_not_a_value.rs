use rpc::service;

struct Plain;

#[service]
trait Store<K> {
    async fn method(&self, key: K);
}

fn client(channel: rpc::Channel) -> StoreClient<Plain> {
    StoreClient::new(channel)
}

fn main() {}
