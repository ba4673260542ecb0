/// A style or script that stands within a page, and its name in the page's `Content-Security-Policy`: nothing else may style the
/// page or run in it, whatever else comes to stand there.
struct PageAsset: Sendable {
    let text: StaticString
    /// `'sha256-…'` (CSP Level 3 §2.3.1).
    let source: String

    init(_ text: StaticString) {
        self.text = text
        let digest = text.withUTF8Buffer { SHA256.digest(of: $0) }
        source = "'sha256-\(Base64.encode(digest))'"
    }

    /// The header for a page of these two.
    static func policy(style: PageAsset, script: PageAsset?) -> (name: String, value: String) {
        var parts = ["default-src 'none'", "style-src \(style.source)"]
        // The script asks this server for news, and nobody else.
        if let script { parts += ["script-src \(script.source)", "connect-src 'self'"] }
        parts += ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
        return ("Content-Security-Policy", parts.joined(separator: "; "))
    }
}
