/// What no text from outside may be.
enum TextFault: Error {
    case invalidUTF8
    case nulByte
}
