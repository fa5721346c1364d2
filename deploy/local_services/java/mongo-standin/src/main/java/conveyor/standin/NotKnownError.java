package conveyor.standin;

import de.bwaldvogel.mongo.exception.MongoServerError;

/** What MongoDB would act on and this server does not: refused, since to ignore it gives wrong answers. */
final class NotKnownError extends MongoServerError {

    private static final long serialVersionUID = 1L;

    NotKnownError(String what) {
        super(238, "NotImplemented", "the stand-in does not know " + what);
    }
}
