import HTTP
import TOML

extension ConfigValue where Value == ListenAddress {
    /// A numeric address and port to listen on.
    ///
    /// - Parameter usual: the suggestion for a port without an address.
    static func listenAddress(usual: ListenAddress) -> Self {
        .scalar("IP:PORT or [IPv6]:PORT", example: "\"\(usual)\"", text: \.description) { (value, _) throws(Mismatch) in
            switch value {
            case .string(let text):
                do throws(ListenAddress.Malformed) {
                    return try ListenAddress(parsing: text, usual: usual)
                } catch {
                    throw Mismatch(hint: error.hint)
                }
            case .integer(let port) where (0...65535).contains(port):
                throw Mismatch(hint: "did you mean \"\(ListenAddress(host: usual.host, port: UInt16(port)))\"?")
            default: return nil
            }
        }
    }
}

extension ConfigValue where Value == [Keyed<ListenAddress>] {
    /// One address, or an array of at least one.
    ///
    /// - Parameter usual: the suggestion for a port without an address.
    static func listenAddresses(usual: ListenAddress) -> Self {
        let one = ConfigValue<ListenAddress>.listenAddress(usual: usual).keyed
        return ConfigValue(shown: { .text(ValueText.array($0.map(\.value.description))) }) { node, key, reader in
            guard case .array(let elements) = node.value else { return one.read(node, key, &reader).map { [$0] } }
            guard !elements.isEmpty else {
                reader.refuse(key, "\(key) must name at least one address, such as \"\(usual)\", not an empty array")
                return nil
            }
            let addresses = elements.enumerated().compactMap { index, element in one.read(element, "\(key)[\(index)]", &reader) }
            return addresses.count == elements.count ? addresses : nil
        }
    }
}

extension ConfigValue where Value == TargetURL.Written {
    /// The URL of a target; a relative socket path is resolved against the config file's folder.
    static var url: Self {
        let url = Self.scalar("a URL", example: "\"http://127.0.0.1:9100/metrics\"", text: \.url.description) {
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
        let noted = url.noted { $0.userInfo != nil }
        return ConfigValue(leaves: noted.leaves, read: noted.read) { value, key in
            // The log describes another URL as a target that comes. The same one with a new password is a change too, but is not shown.
            guard let userInfo = value.userInfo, case .literal(let password) = userInfo.password else { return [] }
            return [ConfigSetting(key: "user or password in \(key)", value: .secret("\(userInfo.username):\(password)"))]
        }
    }
}

/// The value of a `proxy_url`.
enum ProxySetting: Sendable {
    /// `""`.
    case direct
    case through(HTTPProxy)

    /// As in the configuration, without user and password.
    var text: String {
        switch self {
        case .direct: ""
        case .through(let proxy): proxy.description
        }
    }
}

extension ConfigValue where Value == ProxySetting {
    /// The URL of an HTTP proxy; empty text means none.
    static var proxyURL: Self {
        let proxy = Self.scalar("the URL of an HTTP proxy", example: "\"http://proxy.example:3128\"", text: \.text) {
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
                throw Mismatch(hint: "only proxies over plain HTTP are supported: write http://")
            }
            guard written.url.pathAndQuery == "/" else { throw Mismatch(hint: "a proxy's URL has neither path nor query") }
            return .through(
                HTTPProxy(host: host, port: port, username: written.userInfo?.username, password: written.userInfo?.password))
        }
        return ConfigValue(leaves: proxy.leaves) { node, key, reader in
            let value = proxy.read(node, key, &reader)
            if case .through(let proxy) = value, proxy.username != nil { reader.noteSecret(key) }
            return value
        } settings: { value, key in
            // A new password is a change too, but is not shown.
            if case .through(let proxy) = value, case .literal(let password) = proxy.password {
                return [ConfigSetting(key: key, value: .secret("\(proxy) \(proxy.username ?? "") \(password)"))]
            }
            return proxy.settings(value, key)
        }
    }
}

extension ConfigValue where Value == [String] {
    /// The names and addresses that `Host` may have.
    static var allowedHosts: Self {
        let host = ConfigValue<String>.scalar("a host name or an IP address", example: "\"metrics.example.org\"", text: { $0 }) {
            (value, _) throws(ConfigValue<String>.Mismatch) in
            guard case .string(let text) = value else { return nil }
            if let address = NumericAddress(text) { return address.description }
            do throws(TargetURL.Malformed) {
                let (host, port) = try TargetURL.hostAndPort(Substring(text))
                guard port == nil, text.utf8.last != UInt8(ascii: ":") else {
                    throw TargetURL.Malformed(reason: "it has no port: any port is allowed")
                }
                // `Host` is compared without a final dot.
                return host.hasSuffix(".") ? String(host.dropLast()) : host
            } catch {
                throw ConfigValue<String>.Mismatch(hint: error.reason)
            }
        }
        return array(of: host, "an array of host names and IP addresses", example: "[\"metrics.example.org\"]", shown: ValueText.array)
    }
}

extension ConfigValue where Value == String {
    /// The name that a server's certificate must have.
    static var serverName: Self {
        .scalar("a host name or an IP address", example: "\"metrics.example\"", text: { $0 }) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            // Certificates contain no zone of an address.
            if NumericAddress(String(text.prefix { $0 != "%" })) != nil { return text }
            return (try? TargetURL.hostName(Substring(text))).map { _ in text }
        }
    }

    /// The user of basic authentication; RFC 7617 §2.
    static var username: Self {
        .scalar("a name without a colon", example: "\"prometheus\"", isSecret: true, text: { $0 }) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value, !text.holds(":"), !ValueText.hasControl(text) else { return nil }
            return text
        }
    }

    /// The scheme in front of the credentials; RFC 9110 §11.4.
    static var authorizationType: Self {
        .scalar("an authentication scheme", example: "\"Bearer\"", isSecret: true, text: { $0 }) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            guard text.isHTTPToken else {
                throw Mismatch(hint: text.holds(" ") ? "what follows the scheme belongs in the key credentials" : nil)
            }
            guard text.lowercased() != "basic" else { throw Mismatch(hint: "use basic_auth instead") }
            return text
        }
    }
}

extension String {
    /// Whether it is a token: the name of a header, an authentication scheme (RFC 9110 §5.6.2).
    var isHTTPToken: Bool { !isEmpty && utf8.allSatisfy(Token.isTokenByte) }
}
