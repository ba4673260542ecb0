/// The table `[poll_external]`.
struct PollDraft: Sendable {
    var polls = false
    var endpoints: [Keyed<TargetURL.Written>] = []
    var allowsInvalidCerts = false
    var interval: Duration?
    var timeout: Duration?
    var bodySizeLimit = ByteCount.mebibytes(64)
    var maxInflightSize = ByteCount.mebibytes(256)
    var proxy: ProxySetting?
    var expireAfter: Duration?
    var tls: TLSClientDraft?
    var targets: [TargetDraft] = []

    /// The table's dotted key.
    private static let table = "poll_external"
    static let defaultInterval = Duration.seconds(5)
    static let defaultTimeout = Duration.seconds(2)

    /// A target with a valid URL. The other targets have a problem already, and no rule applies to them.
    private struct Candidate {
        var draft: TargetDraft
        var url: TargetURL
        /// The key of the URL.
        var urlKey: String
        /// Whether the URL is written with a path.
        var hasPath: Bool
    }

    /// - Parameters:
    ///   - scrapeAddresses: where the scrape side listens.
    ///   - metrics: its settings restrict the labels of targets.
    func config(
        scrapeAddresses: [Keyed<ListenAddress>], metrics: MetricsDraft, with reader: inout ConfigReader
    ) -> PollConfig {
        let generalTLS = tls?.config(isUsed: polls, with: &reader)
        let candidates = self.candidates(with: &reader)
        for candidate in candidates {
            reader.noteTarget(candidate.draft.key, candidate.url)
            if case .unix(let path) = candidate.url.origin { reader.notePath(candidate.urlKey, path) }
        }
        checkGeneralLimits(isInherited: candidates.contains { $0.draft.bodySizeLimit == nil }, with: &reader)
        checkRepeats(candidates, with: &reader)
        for candidate in candidates { checkOwnAddress(candidate, scrapeAddresses, with: &reader) }
        let names = self.names(candidates, with: &reader)
        for candidate in candidates where !candidate.hasPath { warnOfMissingPath(candidate, with: &reader) }
        warnOfSharedEndpoints(candidates, with: &reader)

        var result: [Target] = []
        for (candidate, name) in zip(candidates, names) {
            let draft = candidate.draft
            let (headers, credentials) = draft.access(isUsed: polls, with: &reader)
            let ownTLS = draft.tls?.config(isUsed: polls, with: &reader)
            draft.warnOfUnusedTLS(of: candidate.url, with: &reader)
            let (interval, timeout) = times(draft, with: &reader)
            let bodySizeLimit = draft.bodySizeLimit ?? bodySizeLimit
            warnWhenTooLarge(in: draft.key, bodySizeLimit: bodySizeLimit, with: &reader)
            let labels = draft.labels(beside: metrics, with: &reader)
            let proxy = draft.proxy(of: candidate.url, general: proxy, with: &reader)
            guard let name else { continue }
            var target = Target(
                url: candidate.url, name: name, interval: interval, timeout: timeout,
                expireAfter: expireAfter(of: draft, interval: interval), bodySizeLimit: bodySizeLimit, headers: headers,
                followRedirects: draft.followsRedirects ?? true, credentials: credentials, tls: ownTLS ?? inheritedTLS(generalTLS))
            target.labels = labels
            target.proxyURL = proxy
            target.keepAlive = draft.keepsAlive ?? true
            result.append(target)
        }
        // Everything is also checked when polling is off, so that switching it on brings no new problem.
        var config = PollConfig(targets: polls ? result : [])
        config.maxInflightSize = maxInflightSize
        return config
    }

    private func inheritedTLS(_ general: TLSClientConfig?) -> TLSClientConfig {
        var config = general ?? TLSClientConfig()
        if allowsInvalidCerts { config.insecureSkipVerify = true }
        return config
    }

    private func candidates(with reader: inout ConfigReader) -> [Candidate] {
        let simple = endpoints.map {
            Candidate(draft: TargetDraft(key: $0.key, url: $0.value), url: $0.value.url, urlKey: $0.key, hasPath: $0.value.hasPath)
        }
        return simple
            + targets.compactMap { draft in
                guard let written = draft.url else {
                    if !reader.isGiven("\(draft.key).url") {
                        reader.refuse(draft.key, "\(draft.key) needs a url, such as url = \"http://127.0.0.1:9100/metrics\"")
                    }
                    // Report its other problems in the same run.
                    _ = draft.access(isUsed: false, with: &reader)
                    _ = draft.tls?.config(isUsed: false, with: &reader)
                    return nil
                }
                return Candidate(draft: draft, url: written.url, urlKey: "\(draft.key).url", hasPath: written.hasPath)
            }
    }

    private func checkRepeats(_ candidates: [Candidate], with reader: inout ConfigReader) {
        var seen: [TargetURL: String] = [:]
        for candidate in candidates {
            if let first = seen[candidate.url] {
                reader.refuse(
                    candidate.urlKey, "\(candidate.urlKey) repeats the URL of \(first)\(reader.line(of: first)): remove one of them")
            } else {
                seen[candidate.url] = candidate.urlKey
            }
        }
    }

    private func warnOfMissingPath(_ candidate: Candidate, with reader: inout ConfigReader) {
        var meant = candidate.url
        meant.pathAndQuery = "/metrics"
        reader.warn(
            candidate.urlKey, "\(candidate.urlKey) has no path, so that / is polled; did you mean \(ValueText.quoted(meant.description))?")
    }

    private func checkOwnAddress(_ candidate: Candidate, _ scrapeAddresses: [Keyed<ListenAddress>], with reader: inout ConfigReader) {
        guard let own = scrapeAddresses.first(where: { candidate.url.reaches($0.value) }) else { return }
        reader.refuse(
            candidate.urlKey, "\(candidate.urlKey) is this proxy's own scrape address \(own.value) (\(own.key)\(reader.line(of: own.key)))")
    }

    /// Each candidate's name; `nil` when it has none, and a problem has been added then.
    private func names(_ candidates: [Candidate], with reader: inout ConfigReader) -> [AppName?] {
        var sharing: [String: Int] = [:]
        for candidate in candidates { sharing[candidate.url.endpoint, default: 0] += 1 }
        var holders: [AppName: Candidate] = [:]
        return candidates.map { candidate in
            let nameKey = "\(candidate.draft.key).name"
            // A refused name must not cause a second problem by its default.
            guard candidate.draft.name != nil || !reader.isGiven(nameKey) else { return nil }
            let endpoint = candidate.url.endpoint
            let text = "external_poll: \(endpoint)" + (sharing[endpoint] == 1 ? "" : candidate.url.pathAndQuery)
            guard let name = candidate.draft.name ?? AppName(text) else {
                reader.refuse(
                    candidate.urlKey,
                    "\(candidate.urlKey) makes a name longer than \(AppName.maxLength) bytes; give it one in [[poll_external.targets]]")
                return nil
            }
            guard let holder = holders[name] else {
                holders[name] = candidate
                return name
            }
            if holder.url != candidate.url {
                let key = reader.isGiven(nameKey) ? nameKey : candidate.urlKey
                reader.refuse(
                    key,
                    "\(key) has the same name as \(holder.draft.key)\(reader.line(of: holder.draft.key)), "
                        + "\(ValueText.quoted(name.description)); give one of them another name in [[poll_external.targets]]")
            }
            return nil
        }
    }

    /// Warns once for each host and port that several targets share: an app without a `name` gets its path appended as soon as a second
    /// target comes, and its series continue under the new name.
    private func warnOfSharedEndpoints(_ candidates: [Candidate], with reader: inout ConfigReader) {
        var counts: [String: Int] = [:]
        for url in Set(candidates.map(\.url)) { counts[url.endpoint, default: 0] += 1 }
        for candidate in candidates where candidate.draft.name == nil && !reader.isGiven("\(candidate.draft.key).name") {
            let endpoint = candidate.url.endpoint
            guard let count = counts.removeValue(forKey: endpoint), count > 1 else { continue }
            reader.warn(
                candidate.urlKey,
                "\(candidate.urlKey): \(count) targets are at \(endpoint), so that their paths are part of their apps' names; give each a name "
                    + "in [[poll_external.targets]], and no app is renamed when a target comes or goes")
        }
    }

    /// - Parameter isInherited: whether a target has no `body_size_limit` of its own.
    private func checkGeneralLimits(isInherited: Bool, with reader: inout ConfigReader) {
        let interval = interval ?? Self.defaultInterval
        warnWhenCut(in: Self.table, interval: interval, timeout: timeout ?? Self.defaultTimeout, with: &reader)
        warnWhenExpired(in: Self.table, interval: interval, expireAfter: expireAfter, with: &reader)
        guard isInherited || reader.isGiven("\(Self.table).body_size_limit") else { return }
        warnWhenTooLarge(in: Self.table, bodySizeLimit: bodySizeLimit, with: &reader)
    }

    private func times(_ draft: TargetDraft, with reader: inout ConfigReader) -> (interval: Duration, timeout: Duration) {
        let interval = draft.interval ?? self.interval ?? Self.defaultInterval
        let timeout = draft.timeout ?? self.timeout ?? Self.defaultTimeout
        warnWhenCut(in: draft.key, interval: interval, timeout: timeout, with: &reader)
        warnWhenExpired(in: draft.key, interval: interval, expireAfter: draft.expireAfter ?? expireAfter, with: &reader)
        return (interval, min(interval, timeout))
    }

    /// `nil` means never. The default depends on the target's own interval, because a slow target must not expire between two polls.
    private func expireAfter(of draft: TargetDraft, interval: Duration) -> Duration? {
        let given = draft.expireAfter ?? expireAfter
        return given == .zero ? nil : given ?? max(interval * 5, .seconds(60))
    }

    /// Warns if `table` is the table that makes the timeout longer than the interval.
    private func warnWhenCut(in table: String, interval: Duration, timeout: Duration, with reader: inout ConfigReader) {
        guard timeout > interval, let key = reader.keyToBlame(["client_timeout", "poll_interval"], in: table, below: Self.table)
        else { return }
        let lengths = "client_timeout \(DurationText.text(timeout)) is longer than poll_interval \(DurationText.text(interval))"
        reader.warn(key, "\(table): \(lengths); it is cut to the interval")
    }

    /// Warns if `table` is the table that makes metrics expire between two successful polls.
    private func warnWhenExpired(in table: String, interval: Duration, expireAfter: Duration?, with reader: inout ConfigReader) {
        guard let expireAfter, expireAfter != .zero, expireAfter <= interval,
            let key = reader.keyToBlame(["expire_after", "poll_interval"], in: table, below: Self.table)
        else { return }
        let lengths = "expire_after \(DurationText.text(expireAfter)) is not longer than poll_interval \(DurationText.text(interval))"
        reader.warn(key, "\(table): \(lengths), so that metrics expire before the next poll; write a longer one, or 0 for never")
    }

    /// Warns if `table` is the table that allows a body which alone takes more than the memory of all bodies.
    private func warnWhenTooLarge(in table: String, bodySizeLimit: ByteCount, with reader: inout ConfigReader) {
        guard bodySizeLimit > maxInflightSize,
            let key = reader.keyToBlame(["body_size_limit", "max_inflight_size"], in: table, below: Self.table)
        else { return }
        let sizes =
            "body_size_limit \(ByteCountText.text(bodySizeLimit)) is larger than \(Self.table).max_inflight_size "
            + ByteCountText.text(maxInflightSize)
        let remedy = "raise max_inflight_size, or lower body_size_limit"
        reader.warn(key, "\(table): \(sizes), so that polls of bodies between the two sizes fail; \(remedy)")
    }
}

extension TargetURL {
    /// Whether a connection to this URL ends at a listener on `address`, as far as this is known without asking the system.
    func reaches(_ address: ListenAddress) -> Bool {
        guard case .http(let host, let port) = origin.asHTTP, port == address.port, let listening = NumericAddress(address.host)?.unmapped
        else {
            return false
        }
        // A connection to a wildcard address ends at this host, connect(2) on Linux.
        let reached: [String] =
            switch host {
            case "localhost", "localhost.": ["127.0.0.1", "::1"]
            case "0.0.0.0": ["127.0.0.1"]
            case "::": ["::1"]
            default: [host]
            }
        return reached.compactMap { NumericAddress($0)?.unmapped }.contains { $0 == listening || ($0.isLoopback && listening.covers($0)) }
    }
}

extension TargetURL {
    /// The numeric host, when a listener on the wildcard `address` would get a connection to this URL if the host were this machine: the
    /// system alone knows its addresses.
    public func host(behindWildcard address: ListenAddress) -> String? {
        guard case .http(let text, let port) = origin.asHTTP, port == address.port, let host = NumericAddress(text)?.unmapped,
            let listening = NumericAddress(address.host), listening.covers(host), !host.isLoopback, !host.isWildcard
        else { return nil }
        return host.description
    }
}

extension TargetURL.Origin {
    /// An HTTPS origin as an HTTP one, for rules that need only host and port.
    fileprivate var asHTTP: TargetURL.Origin {
        if case .https(let host, let port) = self { return .http(host: host, port: port) }
        return self
    }
}
