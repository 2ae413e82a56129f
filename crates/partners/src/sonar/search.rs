//! `/search`: results alone.

use super::Client;
use super::retrieve::{Wanted, retrieve};
use crate::envelope::Refused;
use axum::response::Response;
use dialects::sonar::{Search, search};
use gateway::inner::Said;

pub(super) async fn answer(client: &Client) -> Response {
    match find(client).await {
        Ok((hashes, body)) => client.say("", hashes, Said::Whole(body.into())).await,
        Err(refused) => client.refuse(refused.0).await,
    }
}

async fn find(client: &Client) -> Result<(Vec<String>, Vec<u8>), Refused> {
    let now = client.now();
    let search = Search::parse(&client.body, now)?;
    let mut lists = Vec::with_capacity(search.queries.len());
    for query in &search.queries {
        let wanted = Wanted {
            query,
            collections: &search.collections,
            filters: &search.filters,
            top: search.results,
            web: search.web,
        };
        lists.push(retrieve(client, wanted).await?.passages);
    }
    let found = search::merge(lists);
    let hashes = found.iter().take(search.results).map(|passage| passage.hash.clone()).collect();
    let time = dialects::sonar::timestamp(now);
    Ok((hashes, search.answer(&client.id("srch_"), &found, Some(time))))
}
