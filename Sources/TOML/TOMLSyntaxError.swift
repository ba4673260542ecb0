/// Why a text is not TOML.
public struct TOMLSyntaxError: Error, Equatable, Sendable {
    /// Where the parser stopped.
    public var position: TOMLPosition
    /// In lower case, without a final period; never longer than a few hundred bytes.
    public var message: String

    /// Makes an error at a position.
    public init(position: TOMLPosition, message: String) {
        self.position = position
        self.message = message
    }
}
