import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * The JDK's HttpServer under test: `java Server.java PORT sync|shared|async`. sync: a pool that only serves; shared: the pool
 * runs other jobs as well; async: another pool completes each exchange.
 */
public class Server {
	static final FileOutputStream out = new FileOutputStream(FileDescriptor.out);
	static final ExecutorService workers = Executors.newFixedThreadPool(16);
	static final ExecutorService others = Executors.newFixedThreadPool(8);
	static final ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);
	static String mode;

	/** One line by one write(2). */
	static void say(String kind, String gt, String text) {
		try {
			out.write(("level=info class=" + kind + " gt=" + gt + " msg=\"" + text + "\"\n")
					.getBytes(StandardCharsets.UTF_8));
		} catch (IOException e) {
			throw new RuntimeException(e);
		}
	}

	static String truth(HttpExchange x) {
		String id = x.getRequestHeaders().getFirst("x-request-id");
		if (id == null || id.isBlank())
			return "none";
		try {
			byte[] hash = MessageDigest.getInstance("SHA-256").digest(id.strip().getBytes(StandardCharsets.ISO_8859_1));
			StringBuilder hex = new StringBuilder();
			for (int i = 0; i < 6; i++)
				hex.append(String.format("%02x", hash[i]));
			return hex.toString();
		} catch (Exception e) {
			throw new RuntimeException(e);
		}
	}

	static void pause() {
		ThreadLocalRandom random = ThreadLocalRandom.current();
		if (random.nextBoolean()) {
			try {
				Thread.sleep(0, random.nextInt(999999));
			} catch (InterruptedException e) {
				Thread.currentThread().interrupt();
			}
		}
	}

	static void extras(String path, String gt) throws Exception {
		switch (path) {
		case "/child":
			new Thread(() -> { pause(); say("child", gt, "child's work"); }).start();
			break;
		case "/pool":
			others.submit(() -> say("pool", gt, "pooled work")).get();
			break;
		case "/late":
			timer.schedule(() -> say("after-response", gt, "late"), 1 + ThreadLocalRandom.current().nextInt(50),
					TimeUnit.MILLISECONDS);
			break;
		case "/cache":
			synchronized (timer) {
				say("sync", gt, "computed under the lock");
			}
			break;
		default:
			break;
		}
	}

	static void answer(HttpExchange x, String path, String gt) throws IOException {
		byte[] body = (gt + "\n").getBytes(StandardCharsets.UTF_8);
		boolean head = x.getRequestMethod().equals("HEAD");
		if (path.equals("/empty") || path.equals("/notmod")) {
			x.sendResponseHeaders(path.equals("/empty") ? 204 : 304, -1);
		} else if (head) {
			x.sendResponseHeaders(200, -1);
		} else {
			x.sendResponseHeaders(200, path.equals("/chunked") ? 0 : body.length);
			x.getResponseBody().write(body);
		}
		x.close();
		say("access-log", gt, path + " done");
	}

	static void serve(HttpExchange x) {
		String gt = truth(x), path = x.getRequestURI().getPath();
		say("sync", gt, "begin " + x.getRequestMethod() + " " + path);
		try {
			x.getRequestBody().readAllBytes();
			pause();
			say("after-await", gt, "worked");
			extras(path, gt);
			if (mode.equals("async"))
				others.submit(() -> { complete(x, path, gt); });
			else
				answer(x, path, gt);
		} catch (Exception e) {
			x.close();
		}
	}

	static void complete(HttpExchange x, String path, String gt) {
		try {
			say("pool", gt, "completing");
			answer(x, path, gt);
		} catch (IOException e) {
			x.close();
		}
	}

	static void every(String name, Runnable job) {
		String rate = System.getenv(name);
		if (rate != null && !rate.equals("0"))
			timer.scheduleAtFixedRate(job, 0, 1000000 / Integer.parseInt(rate), TimeUnit.MICROSECONDS);
	}

	public static void main(String[] args) throws Exception {
		mode = args[1];
		say("startup", "-", "starting");
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 1024);
		server.createContext("/", Server::serve);
		server.setExecutor(workers);
		every("BACKGROUND", () -> say("background", "-", "housekeeping"));
		every("JOBS", () -> (mode.equals("shared") ? workers : others)
				.submit(() -> say("background", "-", "job on the pool")));
		server.start();
	}
}
