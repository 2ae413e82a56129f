//! `/search`: results alone.

use super::Client;
use super::retrieve::{Wanted, retrieve};
use crate::envelope::{Refused, passed};
use axum::response::Response;
use dialects::sonar::{Search, search};
use gateway::inner::{Opened, Said};
use types::UnixMillis;
use types::receipt::Egress;

pub(super) async fn answer(client: &Client) -> Response {
    let now = client.now();
    let search = match Search::parse(&client.body, now) {
        Ok(search) => search,
        Err(finding) => return client.refuse(Refused::from(finding).0).await,
    };
    // Before it costs anything.
    let mut opened = match client.partners.parts().inner.open(&client.principal, client.step()).await {
        Ok(opened) => opened,
        Err(answer) => return passed(*answer),
    };
    let (passages, said) = match find(client, &search, now, &mut opened).await {
        Ok((hashes, body)) => (hashes, Said::Whole(body.into())),
        Err(refused) => (Vec::new(), Said::Refused(refused.0)),
    };
    passed(opened.say(passages, said).await)
}

async fn find(
    client: &Client,
    search: &Search,
    now: UnixMillis,
    opened: &mut Opened,
) -> Result<(Vec<String>, Vec<u8>), Refused> {
    let mut lists = Vec::with_capacity(search.queries.len());
    let mut outside: Vec<&str> = Vec::new();
    for query in &search.queries {
        let wanted = Wanted {
            query,
            web: search.web.then_some(query),
            collections: &search.collections,
            filters: &search.filters,
            top: search.results,
        };
        // Each query that leaves has a receipt of its own; this one's egress is over all that left, a line each.
        let mut left = |egress: Egress| {
            outside.push(query);
            let query_commitment =
                client.partners.parts().inner.commitment(&client.principal, outside.join("\n").as_bytes());
            opened.left(Egress { query_commitment, ..egress });
        };
        lists.push(retrieve(client, wanted, &mut left).await?.passages);
    }
    let found = search::merge(lists);
    let hashes = found.iter().take(search.results).map(|passage| passage.hash.clone()).collect();
    let time = dialects::sonar::timestamp(now);
    Ok((hashes, search.answer(&client.id("srch_"), &found, Some(time))))
}
