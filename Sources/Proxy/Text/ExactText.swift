/// A property whose text is equal only to the same bytes.
///
/// `String` also counts two texts as equal if they look the same: "é" can be one character, or an "e" and an accent. A password, a label or
/// a path that is corrected from one to the other has changed.
@propertyWrapper
public struct ExactText: Hashable, Sendable {
    /// The text.
    public var wrappedValue: String

    /// A property with this text.
    public init(wrappedValue: String) { self.wrappedValue = wrappedValue }

    /// Whether both have the same bytes.
    public static func == (a: ExactText, b: ExactText) -> Bool { a.wrappedValue.hasSameBytes(as: b.wrappedValue) }
}

extension String {
    /// Whether both have the same UTF-8 bytes. `==` takes no notice of how an accent is written.
    func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
