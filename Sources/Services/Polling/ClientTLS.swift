/// A target's TLS settings as contexts, which targets of equal settings share.
struct ClientTLS: Sendable {
    /// For the target's own origin.
    let own: ClientContext
    /// For wherever redirects lead: the same without the client certificate.
    let foreign: ClientContext
    /// The name to send and to verify in place of the URL's host, at the target's own origin.
    let serverName: String?
}
