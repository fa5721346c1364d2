package conveyor.standin;

import java.util.concurrent.TimeUnit;

import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.wire.MongoExceptionHandler;
import de.bwaldvogel.mongo.wire.MongoWireMessageEncoder;
import de.bwaldvogel.mongo.wire.MongoWireReplyEncoder;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;

/** The library's server with a decoder of requests of its own, which that one has no place for. */
final class StandinServer {

    private final MongoBackend backend;
    private final EventLoopGroup threads = new MultiThreadIoEventLoopGroup(NioIoHandler.newFactory());
    private final ChannelGroup clients = new DefaultChannelGroup("clients", threads.next());
    private final Channel listener;

    StandinServer(MongoBackend backend, String host, int port) {
        this.backend = backend;
        this.listener = new ServerBootstrap()
            .group(threads)
            .channel(NioServerSocketChannel.class)
            .childOption(ChannelOption.TCP_NODELAY, Boolean.TRUE)
            .childHandler(new ChannelInitializer<>() {
                @Override
                protected void initChannel(Channel client) {
                    client.pipeline().addLast(
                        new MongoWireReplyEncoder(),
                        new MongoWireMessageEncoder(),
                        new RequestDecoder(),
                        new RequestHandler(backend, clients),
                        new MongoExceptionHandler());
                }
            })
            .bind(host, port)
            .syncUninterruptibly()
            .channel();
    }

    void stop() {
        listener.close().syncUninterruptibly();
        clients.close().syncUninterruptibly();
        threads.shutdownGracefully(0, 5, TimeUnit.SECONDS).syncUninterruptibly();
        backend.close();
    }
}
