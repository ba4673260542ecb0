import TOML

extension ConfigValue where Value == TargetURL.Written {
    /// The URL of a target; a relative socket path is resolved against the config file's folder.
    static var url: Self {
        .scalar("a URL", example: "\"http://127.0.0.1:9100/metrics\"", shown: { TargetURL.redacted($0) }) {
            (value, reader) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            var written: TargetURL.Written
            do throws(TargetURL.Malformed) {
                written = try TargetURL.parse(text)
            } catch {
                throw Mismatch(hint: error.reason)
            }
            if case .unix(let path) = written.url.origin {
                let resolved = ConfigPath.resolve(path, against: reader.folder)
                guard resolved.utf8.count <= ReceiverDraft.maxSocketPathLength else {
                    throw Mismatch(
                        hint: "the path of a Unix socket has at most \(ReceiverDraft.maxSocketPathLength) bytes, its folder included")
                }
                written.url.origin = .unix(path: resolved)
            }
            return written
        }
    }
}

/// The value of a `proxy_url`.
enum ProxySetting: Sendable {
    /// `""`.
    case direct
    case through(HTTPProxy)
}

extension ConfigValue where Value == ProxySetting {
    /// The URL of an HTTP proxy; empty text means none.
    static var proxyURL: Self {
        .scalar("the URL of an HTTP proxy", example: "\"http://proxy.example:3128\"", shown: { TargetURL.redacted($0) }) {
            (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            guard !text.isEmpty else { return .direct }
            let written: TargetURL.Written
            do throws(TargetURL.Malformed) {
                written = try TargetURL.parse(text)
            } catch {
                throw Mismatch(hint: error.reason)
            }
            guard case .http(let host, let port) = written.url.origin else {
                throw Mismatch(hint: "proxies are spoken to in plain HTTP, so it begins with http://")
            }
            guard written.url.pathAndQuery == "/" else { throw Mismatch(hint: "a proxy's URL has neither path nor query") }
            return .through(
                HTTPProxy(host: host, port: port, username: written.userInfo?.username, password: written.userInfo?.password))
        }
    }
}

extension ConfigValue where Value == [String] {
    /// Names and addresses that may stand in `Host`.
    static var allowedHosts: Self {
        let host = ConfigValue<String>.scalar("a host name or an IP address", example: "\"metrics.example.org\"") {
            (value, _) throws(ConfigValue<String>.Mismatch) in
            guard case .string(let text) = value else { return nil }
            if let address = NumericAddress(text) { return address.description }
            do throws(TargetURL.Malformed) {
                let (host, port) = try TargetURL.hostAndPort(Substring(text))
                guard port == nil, !text.hasSuffix(":") else {
                    throw TargetURL.Malformed(reason: "it has no port: any port is allowed")
                }
                return host
            } catch {
                throw ConfigValue<String>.Mismatch(hint: error.reason)
            }
        }
        return array(of: host, "an array of host names and IP addresses", example: "[\"metrics.example.org\"]")
    }
}

extension ConfigValue where Value == String {
    /// The name that a server's certificate must carry.
    static var serverName: Self {
        .scalar("a host name or an IP address", example: "\"metrics.example\"") { (value, _) throws(Mismatch) in
            guard case .string(let text) = value, !text.isEmpty, text.utf8.count <= 253,
                text.utf8.allSatisfy({ HTTPToken.isToken($0) || $0 == UInt8(ascii: ":") })
            else { return nil }
            return text
        }
    }

    /// The user of basic authentication; RFC 7617 §2.
    static var username: Self {
        .scalar("a name without a colon", example: "\"prometheus\"") { (value, _) throws(Mismatch) in
            guard case .string(let text) = value, !text.contains(":"), !ValueText.hasControl(text) else { return nil }
            return text
        }
    }

    /// The scheme in front of the credentials; RFC 9110 §11.4.
    static var authorizationType: Self {
        .scalar("an authentication scheme", example: "\"Bearer\"") { (value, _) throws(Mismatch) in
            guard case .string(let text) = value, HTTPToken.isToken(text) else { return nil }
            guard text.lowercased() != "basic" else { throw Mismatch(hint: "use basic_auth instead") }
            return text
        }
    }
}

extension ConfigValue where Value == [String: BcryptHash] {
    /// A table of names and hashes.
    static var users: Self {
        ConfigValue { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value) { _ in nil }
                reader.refuse(key, "\(key) must be a table of names and bcrypt hashes, such as prometheus = \"$2y$10$…\", not \(found)")
                return nil
            }
            var users: [String: BcryptHash] = [:]
            for entry in table.entries {
                let entryKey = "\(key).\(entry.key)"
                let shown = ValueText.quoted(entry.key)
                guard !entry.key.isEmpty, !entry.key.contains(":"), !ValueText.hasControl(entry.key) else {
                    reader.refuse(
                        entryKey, "\(key): \(shown) is no name of a user: it has a colon or a control character, or is empty",
                        at: entry.keyPosition)
                    continue
                }
                guard case .string(let text) = entry.node.value else {
                    let found = ValueText.describe(entry.node.value) { _ in nil }
                    reader.refuse(entryKey, "\(key): \(shown) must have a bcrypt hash, not \(found)", at: entry.node.position)
                    continue
                }
                do throws(BcryptHash.Malformed) {
                    users[entry.key] = try BcryptHash(parsing: text)
                } catch {
                    // The text is not shown: it may be the password itself.
                    reader.refuse(
                        entryKey,
                        "\(key): \(shown) must have a bcrypt hash, such as \"htpasswd -nB\" prints after the colon\(error.hint.map { "; \($0)" } ?? "")",
                        at: entry.node.position)
                }
            }
            return users
        }
    }
}

extension ConfigValue where Value == [Target.Header] {
    /// A table of header names and values, none of them one that the client sets itself.
    static var headers: Self {
        ConfigValue { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value) { _ in nil }
                reader.refuse(key, "\(key) must be a table of strings, such as { X-Tenant = \"a\" }, not \(found)")
                return nil
            }
            var headers: [Target.Header] = []
            for entry in table.entries {
                let entryKey = "\(key).\(entry.key)"
                let shown = ValueText.quoted(entry.key)
                guard HTTPToken.isToken(entry.key) else {
                    reader.refuse(entryKey, "\(key): \(shown) is not the name of a header", at: entry.keyPosition)
                    continue
                }
                if let reason = reserved[entry.key.lowercased()] {
                    reader.refuse(entryKey, "\(key): \(shown) is set by the client itself\(reason)", at: entry.keyPosition)
                    continue
                }
                if headers.contains(where: { $0.name.lowercased() == entry.key.lowercased() }) {
                    reader.refuse(
                        entryKey, "\(key): \(shown) is given twice; case does not count in names of headers", at: entry.keyPosition)
                    continue
                }
                guard case .string(let text) = entry.node.value else {
                    let found = ValueText.describe(entry.node.value) { _ in nil }
                    reader.refuse(entryKey, "\(key): \(shown) must be a string, such as \"a\", not \(found)", at: entry.node.position)
                    continue
                }
                // A tab is the one control character that a value may hold, RFC 9110 §5.5.
                guard !ValueText.hasControl(text.filter { $0 != "\t" }) else {
                    reader.refuse(entryKey, "\(key): the value of \(shown) holds a control character", at: entry.node.position)
                    continue
                }
                headers.append(Target.Header(name: entry.key, value: text))
            }
            return headers
        }
    }

    /// Names in lower case, each with what to do instead.
    private static var reserved: [String: String] {
        [
            "accept": " (only text format 0.0.4 can be joined)", "accept-encoding": "", "connection": "", "content-length": "",
            "content-type": "", "expect": "", "host": " from the URL", "keep-alive": "", "proxy-connection": "", "te": "",
            "trailer": "", "transfer-encoding": "", "upgrade": "", "user-agent": "", "x-prometheus-scrape-timeout-seconds": "",
        ]
    }
}

/// RFC 9110 §5.6.2.
enum HTTPToken {
    static func isToken(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy(isToken) }

    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
