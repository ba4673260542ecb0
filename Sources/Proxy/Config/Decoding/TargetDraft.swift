import HTTP

/// A table of `[[poll_external.targets]]`, or an element of `other_scrape_endpoints`, which has only a URL.
struct TargetDraft: Sendable {
    /// The dotted key of the table, or of the element.
    let key: String
    var url: TargetURL.Written?
    var name: AppName?
    var interval: Duration?
    var timeout: Duration?
    var bodySizeLimit: ByteCount?
    var expireAfter: Duration?
    var headers: [Target.Header]?
    var followsRedirects: Bool?
    var basicAuth: BasicAuthDraft?
    var authorization: AuthorizationDraft?
    var tls: TLSClientDraft?
    var labels: [Target.Label]?
    var proxy: ProxySetting?
    var keepsAlive: Bool?

    init(key: String, url: TargetURL.Written? = nil) {
        self.key = key
        self.url = url
    }

    /// The headers to send and the credentials, from all keys that can contain them.
    ///
    /// - Parameter isUsed: whether the named files are needed.
    func access(isUsed: Bool, with reader: inout ConfigReader) -> (headers: [Target.Header], credentials: Target.Credentials?) {
        var headers = self.headers ?? []
        var sources: [(key: String, what: String)] = []
        var credentials: Target.Credentials?
        if let userInfo = url?.userInfo {
            sources.append((reader.isGiven("\(key).url") ? "\(key).url" : key, "user and password in the URL"))
            credentials = .basic(username: userInfo.username, password: userInfo.password)
        }
        if let basicAuth {
            sources.append((basicAuth.key, "basic_auth"))
            credentials = basicAuth.credentials(isUsed: isUsed, with: &reader)
        }
        if let authorization {
            sources.append((authorization.key, "authorization"))
            credentials = authorization.credentials(isUsed: isUsed, with: &reader)
        }
        // As credentials, so that a redirect to another origin does not take the header along.
        if let index = headers.firstIndex(where: { $0.name.lowercased() == "authorization" }) {
            let headerKey = "\(key).headers.\(headers[index].name)"
            sources.append((headerKey, "the header Authorization"))
            let parts = headers.remove(at: index).value.parts(at: " ", most: 2).map(String.init)
            if parts.count == 2, parts[0].isHTTPToken {
                credentials = .authorization(type: parts[0], credentials: .literal(parts[1]))
            } else {
                reader.refuse(
                    headerKey, "\(key).headers: the header Authorization must be \"TYPE CREDENTIALS\"; better use \(key).authorization")
            }
        }
        if sources.count > 1 {
            let last = sources[sources.count - 1]
            reader.refuse(last.key, "\(key) has \(ValueText.list(sources.map(\.what))): only one of them can be sent")
        }
        return (headers, credentials)
    }
}

extension TargetDraft {
    /// The labels to set on each sample, after the rules about `[metrics]`.
    func labels(beside metrics: MetricsDraft, with reader: inout ConfigReader) -> [Target.Label] {
        let labels = self.labels ?? []
        let labelsKey = "\(key).labels"
        if !labels.isEmpty, metrics.validate == .off {
            reader.refuse(labelsKey, MetricsDraft.labelsNeedChecks(labelsKey))
        }
        guard let repeated = labels.first(where: { $0.name == metrics.appLabel }) else { return labels }
        let labelKey = "\(labelsKey).\(repeated.name)"
        reader.refuse(
            labelKey, "\(labelKey) repeats metrics.app_label\(reader.line(of: "metrics.app_label")); give one of them another name")
        return labels
    }

    /// Warns of TLS settings for a URL that is polled without TLS. A redirect may lead to one that needs them.
    func warnOfUnusedTLS(of url: TargetURL, with reader: inout ConfigReader) {
        guard let tls, !url.origin.isHTTPS else { return }
        var reason = "the URL begins with http://; did you mean https://?"
        if case .unix = url.origin { reason = "a Unix socket is polled without TLS" }
        let use =
            followsRedirects ?? true
            ? "is used only after a redirect to https://, without its client certificate and server_name" : "is not used"
        reader.warn(tls.key, "\(tls.key) \(use): \(reason)")
    }

    /// The proxy to poll through. A target's own setting wins over the general one.
    func proxy(of url: TargetURL, general: ProxySetting?, with reader: inout ConfigReader) -> HTTPProxy? {
        if case .unix = url.origin {
            if case .through = proxy {
                reader.warn("\(key).proxy_url", "\(key).proxy_url is not used: a Unix socket is polled directly")
            }
            return nil
        }
        switch proxy ?? general {
        case .through(let proxy): return proxy
        case .direct, nil: return nil
        }
    }
}

/// A `basic_auth` table.
struct BasicAuthDraft: Sendable {
    let key: String
    var username: String?
    var password: String?
    var passwordFile: String?

    init(key: String) { self.key = key }

    func credentials(isUsed: Bool, with reader: inout ConfigReader) -> Target.Credentials? {
        if !reader.isGiven("\(key).username") { reader.refuse(key, "\(key) needs a username") }
        let secret = Secret.from(password, passwordFile, in: key, named: "password", isUsed: isUsed, with: &reader)
        guard let username, let secret else { return nil }
        return .basic(username: username, password: secret)
    }
}

/// An `authorization` table.
struct AuthorizationDraft: Sendable {
    let key: String
    var type = "Bearer"
    var credentials: String?
    var credentialsFile: String?

    init(key: String) { self.key = key }

    func credentials(isUsed: Bool, with reader: inout ConfigReader) -> Target.Credentials? {
        let secret = Secret.from(credentials, credentialsFile, in: key, named: "credentials", isUsed: isUsed, with: &reader)
        return secret.map { .authorization(type: type, credentials: $0) }
    }
}

extension Secret {
    /// Exactly one of the key `name` and the key `name_file` of the table `key`.
    fileprivate static func from(
        _ literal: String?, _ file: String?, in key: String, named name: String, isUsed: Bool, with reader: inout ConfigReader
    ) -> Secret? {
        switch (reader.isGiven("\(key).\(name)"), reader.isGiven("\(key).\(name)_file")) {
        case (false, false): reader.refuse(key, "\(key) needs \(name) or \(name)_file")
        case (true, true): reader.refuse("\(key).\(name)_file", "\(key) has both \(name) and \(name)_file; keep one of them")
        default: break
        }
        if let literal { return .literal(literal) }
        guard let file else { return nil }
        // The file of a target that is not polled is not read, and the target is dropped.
        return isUsed ? .file(reader.secretFile("\(key).\(name)_file", file)) : nil
    }
}

/// A `tls_config` table.
struct TLSClientDraft: Sendable {
    let key: String
    /// The settings that need no file.
    var config = TLSClientConfig()
    var caFile: String?
    var certFile: String?
    var keyFile: String?

    init(key: String) { self.key = key }

    /// - Parameter isUsed: whether a target is polled with it. Files are read only then.
    func config(isUsed: Bool, with reader: inout ConfigReader) -> TLSClientConfig {
        let given = ["cert_file", "key_file"].filter { reader.isGiven("\(key).\($0)") }
        if given.count == 1 {
            let missing = given[0] == "cert_file" ? "key_file" : "cert_file"
            reader.refuse("\(key).\(given[0])", "\(key) has \(given[0]) but no \(missing); a client certificate needs both")
        }
        var config = config
        if config.minVersion > config.maxVersion {
            reader.refuse(
                "\(key).min_version",
                "\(key).min_version \"\(config.minVersion.rawValue)\" is above max_version \"\(config.maxVersion.rawValue)\"")
            config.maxVersion = config.minVersion
        }
        guard isUsed else { return config }
        config.caFile = caFile.map { reader.file("\(key).ca_file", $0) }
        config.certFile = certFile.map { reader.file("\(key).cert_file", $0) }
        config.keyFile = keyFile.map { reader.secretFile("\(key).key_file", $0) }
        return config
    }
}
