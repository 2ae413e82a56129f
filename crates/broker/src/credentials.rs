//! What a binding gives: one object that AI Core's, OpenAI's and Sonar's clients each find their own names in.

use serde_json::{Value, json};
use types::{KeyId, ProjectId, TenantId};

/// Where the site is, from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Without a slash at the end.
    pub url: String,
    pub site: String,
    /// The log's verifier key.
    pub log_vkey: String,
}

/// `secret` is the key's text, `hk_…`.
pub fn credentials(place: &Place, tenant: TenantId, project: ProjectId, key: KeyId, secret: &str) -> Value {
    let url = &place.url;
    json!({
        "clientid": key,
        "clientsecret": secret,
        // Clients add /oauth/token.
        "url": url,
        "identityzone": place.site,
        "identityzoneid": tenant,
        "appname": project,
        // Clients add /v2, since the path is empty.
        "serviceurls": { "AI_API_URL": url },
        "openai": { "base_url": format!("{url}/v1"), "api_key": secret },
        "sonar": { "base_url": url, "api_key": secret },
        "evidence": { "log_url": format!("{url}/log"), "verifier_key": place.log_vkey },
    })
}
