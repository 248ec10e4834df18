//! Two versions of one service talk both ways. Each test is a line of docs/evolution.md.

use rpc::{CallError, Code, Error, Executed, Server};

/// The service as it was.
mod old {
    use rpc::service;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Item {
        pub(crate) name: String,
        pub(crate) price: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Status {
        Open,
        Shipped,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Refusal {
        SoldOut,
    }

    #[service]
    pub(crate) trait Shop {
        async fn order(&self, item: Item) -> u32;
        async fn find(&self, text: String) -> Vec<Item>;
        async fn status(&self, order: u32) -> Status;
        async fn buy(&self, order: u32) -> Result<u32, Refusal>;
        async fn remove(&self, order: u32) -> bool;
        async fn total(&self, items: u32) -> u32;
        async fn price(&self, item: String, pieces: u32) -> u32;
    }
}

/// The service as it is.
mod new {
    use rpc::service;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Item {
        pub(crate) name: String,
        /// A field that has been added.
        #[serde(default)]
        pub(crate) colour: Option<String>,
        pub(crate) price: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Status {
        Open,
        Shipped,
        /// A variant that has been added.
        Returned {
            reason: String,
        },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Refusal {
        SoldOut,
        /// A variant that has been added.
        Limited {
            most: u32,
        },
    }

    #[service]
    pub(crate) trait Shop {
        async fn order(&self, item: Item) -> u32;
        /// An argument that has been added.
        async fn find(&self, text: String, #[rpc(default)] limit: Option<u32>) -> Vec<Item>;
        async fn status(&self, order: u32) -> Status;
        async fn buy(&self, order: u32) -> Result<u32, Refusal>;
        /// Was `remove`.
        #[rpc(alias = "remove")]
        async fn cancel(&self, order: u32) -> bool;
        /// An integer that has been widened.
        async fn total(&self, items: u64) -> u64;
        /// An argument that is gone.
        async fn price(&self, item: String) -> u32;
        /// A method that has been added.
        async fn rename(&self, order: u32, name: String) -> bool;
    }
}

struct Shop;

impl old::Shop for Shop {
    async fn order(&self, item: old::Item) -> u32 {
        item.price
    }
    async fn find(&self, text: String) -> Vec<old::Item> {
        vec![old::Item { name: text, price: 7 }]
    }
    async fn status(&self, _order: u32) -> old::Status {
        old::Status::Shipped
    }
    async fn buy(&self, _order: u32) -> Result<u32, old::Refusal> {
        Err(old::Refusal::SoldOut)
    }
    async fn remove(&self, order: u32) -> bool {
        order == 1
    }
    async fn total(&self, items: u32) -> u32 {
        items * 2
    }
    async fn price(&self, item: String, pieces: u32) -> u32 {
        item.len() as u32 * pieces
    }
}

impl new::Shop for Shop {
    async fn order(&self, item: new::Item) -> u32 {
        assert!(item.colour.is_none() || item.colour.as_deref() == Some("red"));
        item.price
    }
    async fn find(&self, text: String, limit: Option<u32>) -> Vec<new::Item> {
        let item = new::Item { name: text, colour: Some("red".to_owned()), price: limit.unwrap_or(100) };
        vec![item]
    }
    async fn status(&self, order: u32) -> new::Status {
        match order {
            0 => new::Status::Open,
            _ => new::Status::Returned { reason: "too small".to_owned() },
        }
    }
    async fn buy(&self, _order: u32) -> Result<u32, new::Refusal> {
        Err(new::Refusal::Limited { most: 3 })
    }
    async fn cancel(&self, order: u32) -> bool {
        order == 1
    }
    async fn total(&self, items: u64) -> u64 {
        items * 2
    }
    async fn price(&self, item: String) -> u32 {
        item.len() as u32
    }
    async fn rename(&self, _order: u32, name: String) -> bool {
        !name.is_empty()
    }
}

/// A client of the old version and a server of the new one.
async fn old_client() -> old::ShopClient {
    let bound = Server::new().add(new::ShopServer::new(Shop)).bind("tcp://127.0.0.1:0").await.expect("bound");
    let address = bound.local_addr();
    tokio::spawn(bound.serve());
    old::ShopClient::connect(address).await.expect("connected")
}

/// A client of the new version and a server of the old one.
async fn new_client() -> new::ShopClient {
    let bound = Server::new().add(old::ShopServer::new(Shop)).bind("tcp://127.0.0.1:0").await.expect("bound");
    let address = bound.local_addr();
    tokio::spawn(bound.serve());
    new::ShopClient::connect(address).await.expect("connected")
}

fn item() -> old::Item {
    old::Item { name: "hat".to_owned(), price: 9 }
}

#[tokio::test]
async fn a_trailing_argument_with_a_default_can_be_added() {
    let found = old_client().await.find("hat".to_owned()).await.expect("the new server fills it in");
    assert_eq!(found[0].price, 100);
    let found = new_client().await.find("hat".to_owned(), Some(1)).await.expect("the old server ignores it");
    assert_eq!(found[0].price, 7);
}

#[tokio::test]
async fn a_trailing_argument_can_be_taken_away() {
    let price = old_client().await.price("hat".to_owned(), 5).await.expect("the new server ignores it");
    assert_eq!(price, 3);
}

#[tokio::test]
async fn an_argument_without_a_default_cannot_be_added() {
    let error = new_client().await.price("hat".to_owned()).await.expect_err("the old server misses one");
    assert_eq!((error.code(), error.executed()), (Code::InvalidArgument, Executed::No));
    assert!(error.message().contains("`pieces`"), "it says which: {error}");
}

#[tokio::test]
async fn a_field_with_a_default_can_be_added_anywhere() {
    assert_eq!(old_client().await.order(item()).await.expect("the new server fills it in"), 9);
    let found = old_client().await.find("hat".to_owned()).await.expect("the old client ignores it");
    assert_eq!(found[0].name, "hat");
    let red = new::Item { name: "hat".to_owned(), colour: Some("red".to_owned()), price: 9 };
    assert_eq!(new_client().await.order(red).await.expect("the old server ignores it"), 9);
    let found = new_client().await.find("hat".to_owned(), None).await.expect("the new client fills it in");
    assert_eq!(found[0].colour, None);
}

#[tokio::test]
async fn a_variant_can_be_added_and_fails_only_where_it_is_unknown() {
    let client = old_client().await;
    assert_eq!(client.status(0).await.expect("a variant that both know"), old::Status::Open);
    let error = client.status(1).await.expect_err("a variant that the old client does not know");
    assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
    assert!(error.message().contains("Returned"), "it says which: {error}");
    assert_eq!(client.status(0).await.expect("the connection goes on"), old::Status::Open);
    let shipped = new_client().await.status(0).await.expect("a variant that both know");
    assert_eq!(shipped, new::Status::Shipped);
}

#[tokio::test]
async fn an_error_variant_can_be_added_and_fails_only_where_it_is_unknown() {
    let Err(CallError::Rpc(error)) = old_client().await.buy(1).await else { panic!("it is not known") };
    assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
    assert!(error.message().contains("Limited"), "it says which: {error}");
    let refused = new_client().await.buy(1).await;
    assert!(matches!(refused, Err(CallError::App(new::Refusal::SoldOut))));
}

#[tokio::test]
async fn a_method_can_be_renamed_with_its_old_name_as_an_alias() {
    assert!(old_client().await.remove(1).await.expect("the new server knows the old name"));
    let error = new_client().await.cancel(1).await.expect_err("the old server does not know the new name");
    assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
}

#[tokio::test]
async fn case_50_a_method_that_the_server_lacks_is_not_executed() {
    let client = new_client().await;
    let error: Error = client.rename(1, "cap".to_owned()).await.expect_err("the old server lacks it");
    assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
    assert!(error.message().contains("Shop.rename"), "it says which: {error}");
    assert!(!error.is_retryable());
    assert_eq!(client.total(2).await.expect("the connection goes on"), 4);
}

#[tokio::test]
async fn an_integer_can_be_widened_as_long_as_its_values_fit() {
    assert_eq!(old_client().await.total(21).await.expect("an old value fits the new type"), 42);
    let client = new_client().await;
    assert_eq!(client.total(21).await.expect("a small value fits the old type"), 42);
    let error = client.total(1 << 40).await.expect_err("a large one does not");
    assert_eq!((error.code(), error.executed()), (Code::InvalidArgument, Executed::No));
}
