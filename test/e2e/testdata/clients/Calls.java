import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerBuilder;
import io.grpc.ServerServiceDefinition;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** The grpc-java server of the Calls service (see app/calls.go), with grpc-java's defaults, on port 9090. */
public class Calls {
    /** Messages stay bytes: a google.protobuf.Duration of whole seconds is its field 1. */
    static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<>() {
        @Override public InputStream stream(byte[] value) { return new ByteArrayInputStream(value); }
        @Override public byte[] parse(InputStream in) {
            try {
                return in.readAllBytes();
            } catch (IOException e) {
                throw new RuntimeException(e);
            }
        }
    };

    static final ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);

    public static void main(String[] args) throws Exception {
        ServerBuilder.forPort(9090).addService(ServerServiceDefinition.builder("tulle.e2e.Calls")
            .addMethod(method("Wait", MethodType.UNARY), ServerCalls.<byte[], byte[]>asyncUnaryCall(Calls::await))
            .addMethod(method("Hold", MethodType.BIDI_STREAMING),
                ServerCalls.<byte[], byte[]>asyncBidiStreamingCall(Hold::new))
            .build()).build().start().awaitTermination();
    }

    static MethodDescriptor<byte[], byte[]> method(String name, MethodType type) {
        return MethodDescriptor.newBuilder(BYTES, BYTES).setType(type)
            .setFullMethodName(MethodDescriptor.generateFullMethodName("tulle.e2e.Calls", name)).build();
    }

    static void await(byte[] request, StreamObserver<byte[]> answers) {
        later(request, () -> {
            answers.onNext(request);
            answers.onCompleted();
        });
    }

    static class Hold implements StreamObserver<byte[]> {
        final StreamObserver<byte[]> answers;

        Hold(StreamObserver<byte[]> answers) { this.answers = answers; }

        @Override public void onNext(byte[] request) { later(request, () -> answers.onNext(request)); }
        @Override public void onError(Throwable cause) {}
        @Override public void onCompleted() { answers.onCompleted(); }
    }

    static void later(byte[] request, Runnable answer) {
        long seconds = 0;
        for (int i = 1, shift = 0; i < request.length && request[0] == 8; i++, shift += 7) { // a varint
            seconds |= (long) (request[i] & 0x7f) << shift;
            if (request[i] >= 0) {
                break;
            }
        }
        timer.schedule(answer, seconds, TimeUnit.SECONDS);
    }
}
