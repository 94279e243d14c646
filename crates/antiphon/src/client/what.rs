//! What is asked, said the same way whoever is asked.

/// The methods of a builder that has a field `request`: method, payload, options.
macro_rules! what_is_asked {
    ($(#[doc = $twice:literal])*) => {
        /// GET.
        pub fn get(self) -> Self {
            self.method(Code::GET)
        }

        /// DELETE.
        pub fn delete(self) -> Self {
            self.method(Code::DELETE)
        }

        /// PUT with this payload.
        pub fn put(self, format: ContentFormat, payload: impl Into<Vec<u8>>) -> Self {
            self.method(Code::PUT).payload(format, payload)
        }

        /// POST with this payload.
        $(#[doc = $twice])*
        pub fn post(self, format: ContentFormat, payload: impl Into<Vec<u8>>) -> Self {
            self.method(Code::POST).payload(format, payload)
        }

        /// FETCH with this payload (RFC 8132).
        pub fn fetch(self, format: ContentFormat, payload: impl Into<Vec<u8>>) -> Self {
            self.method(Code::FETCH).payload(format, payload)
        }

        /// PATCH with this payload (RFC 8132).
        $(#[doc = $twice])*
        pub fn patch(self, format: ContentFormat, payload: impl Into<Vec<u8>>) -> Self {
            self.method(Code::PATCH).payload(format, payload)
        }

        /// iPATCH with this payload (RFC 8132).
        $(#[doc = $twice])*
        pub fn ipatch(self, format: ContentFormat, payload: impl Into<Vec<u8>>) -> Self {
            self.method(Code::IPATCH).payload(format, payload)
        }

        /// This method, without payload.
        pub fn method(mut self, method: Code) -> Self {
            self.request.method = method;
            self
        }

        /// This payload.
        pub fn payload(mut self, format: ContentFormat, payload: impl Into<Vec<u8>>) -> Self {
            self.request = self.request.payload(format, payload);
            self
        }

        /// Method, payload and options of this request, in addition to those of the URI.
        pub fn request(mut self, request: Request) -> Self {
            self.request = request;
            self
        }

        /// Representations in this format are wanted (Accept).
        pub fn accept(mut self, format: ContentFormat) -> Self {
            self.request.options.remove(OptionNumber::ACCEPT);
            self.request
                .options
                .push_uint(OptionNumber::ACCEPT, u32::from(format.0));
            self
        }

        /// Any option, in addition to those of the URI.
        pub fn option(mut self, number: OptionNumber, value: &[u8]) -> Self {
            self.request.options.push(number, value);
            self
        }
    };
}

pub(super) use what_is_asked;
